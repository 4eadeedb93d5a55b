"""Training by a command of the user's: their trainer, in its own process, given files and read back from files."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adaptinf.config import TrainingConfig
from adaptinf.data import Trained
from adaptinf.errors import ModelError
from adaptinf.models.files import model_files, model_folder
from adaptinf.models.kernels import is_quantised
from adaptinf.models.loading import Learner
from adaptinf.models.memory import release
from adaptinf.outside import Command, run_command
from adaptinf.progress import Progress
from adaptinf.storage import tables
from adaptinf.training import save_weights
from adaptinf.training.outside_log import Told, read_told
from adaptinf.training.same_weights import check_complete, check_new
from adaptinf.training.written import Start, check_merge, read_written
from adaptinf.words import counted

OUTPUT, CHECKPOINTS = "output", "checkpoints"
"""Folders in the unfinished folder of the training: what the trainer writes, and what it may go on from."""
ENDED = "ended.json"
"""Beside them: the words of the command that ended well; a kill while its files are looked at costs no training."""
WHOLE_EPOCH = 0.01
"""Share of an epoch that a trainer may be short of, as it rounds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One step's training, as a command does it."""

    command: Command
    """What is run."""
    folder: Path
    """Where it starts."""
    timeout: float | None
    """Seconds that one run of it may take; None: any."""
    values: Mapping[str, str]
    """What its placeholders stand for, but for `output` and `checkpoints`."""
    start: Start
    """What it starts from."""
    num_samples: int
    """Rows of its data."""
    check: Callable[[Learner], None]
    """Looks at the learner that it has made, and raises if later stages could not use it."""


def train_outside(task: Task, config: TrainingConfig, *, out: Path, progress: Progress) -> Trained:
    """Run a trainer, check what it wrote, save that into `out`, and return what is known of the training.

    While it runs, its output goes into a file in `out`, one per attempt; `out`/checkpoints is its own to resume from.

    Raises:
        ConfigError: it failed, or took too long; the last lines of its output are in the message.
        ModelError: what it wrote cannot be used.
    """
    output, checkpoints = out / OUTPUT, out / CHECKPOINTS
    words = task.command.filled({**task.values, "output": str(output), "checkpoints": str(checkpoints)})
    if not checkpoints.is_dir():
        _remove(checkpoints)
        checkpoints.mkdir()
    if _has_ended(out, words):
        progress.note(f"{task.start.place} ended well before; what it wrote is looked at again")
    else:
        _run(task, words, output, out, progress)
    try:
        _save(output, out, task)
    except ModelError:
        # What it wrote is of no use, so it must train again once it is repaired.
        (out / ENDED).unlink(missing_ok=True)
        raise
    told = read_told([output, checkpoints], Trained.outputs(out))
    for line in _doubts(told, task, config):
        progress.note(f"warning: {task.start.place}: {line}")
    for place in (output, checkpoints):
        _remove(place)
    (out / ENDED).unlink()
    losses = [record["loss"] for record in told.log]
    info = {
        "samples": task.num_samples,
        "epochs": config.epochs,
        "tune": config.tune,
        "trainer": task.start.place,
        "optimizer_steps": told.num_steps,
        "final_loss": losses[-1] if losses else None,
    }
    return Trained(log=[dict(sorted(record.items())) for record in told.log], info=info)


def _run(task: Task, words: list[str], output: Path, out: Path, progress: Progress) -> None:
    """Run the command on an empty output folder, and note that it has ended well."""
    (out / ENDED).unlink(missing_ok=True)
    _remove(output)
    output.mkdir()
    before = _state_of_model(task.start.model)
    # The trainer needs the memory that this process has for the model that it measured with.
    gc.collect()
    release()
    log = Trained.next_output(out)
    with progress.stage("train", None, unit="attempts") as bar:
        run_command(words, place=task.start.place, folder=task.folder, log=log, timeout=task.timeout)
        bar.advance()
    _check_left_alone(before, task)
    if output.is_symlink() or not output.is_dir():
        raise ModelError(
            f"{task.start.place} removed {{output}} ({output}) or put something else in its place; let the trainer "
            "write into the folder that is there"
        )
    tables.write_json(out / ENDED, {"words": words})


def _state_of_model(model: str) -> dict[Path, tuple[int, int]]:
    """Return size and time of change of each file of a model; empty where it is not on this machine yet."""
    folder, _ = model_folder(model)
    files = [] if folder is None else [folder / name for name in model_files(folder, runs_code=False)]
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()}


def _check_left_alone(before: Mapping[Path, tuple[int, int]], task: Task) -> None:
    """Check that a trainer has not written into the model that it was given.

    Raises:
        ModelError: it has.
    """
    now = _state_of_model(task.start.model)
    changed = [file for file, state in before.items() if now.get(file) != state]
    if changed:
        raise ModelError(
            f"{task.start.place} changed {changed[0]}, a file of the {{model}} that it was to start from; bring the "
            "former file back, and let the trainer write into {output} alone"
        )


def _remove(path: Path) -> None:
    """Remove what a trainer left at a place, also where that is no folder any more; a link's target stays."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _has_ended(out: Path, words: list[str]) -> bool:
    path = out / ENDED
    return path.is_file() and (out / OUTPUT).is_dir() and tables.read_record(path).get("words") == words


def _save(output: Path, out: Path, task: Task) -> None:
    """Check what a trainer wrote, and save it as every step's weights are."""
    start = task.start
    learner = read_written(output, start)
    task.check(learner)
    dtype = learner.model.dtype
    check_new(output, start, dtype)
    if start.tune == "lora":
        # The trainer may have had a copy, or a merged model that is gone after the step.
        learner.model.active_peft_config.base_model_name_or_path = start.recipe.model.path
    save_weights(learner, out)
    if start.tune == "lora":
        check_complete(out, output, dtype, start.place)
        if not is_quantised(learner.model):  # beside quantised weights an adapter stays as it is
            check_merge(learner, start.place)


def _doubts(told: Told, task: Task, config: TrainingConfig) -> list[str]:
    """Return what a trainer says that is not as it was asked for, a line each."""
    found: list[str] = []
    if told.num_examples is not None and told.num_examples != task.num_samples:
        found.append(
            f"the trainer counted {counted(told.num_examples, 'row')}, but {{data}} has {task.num_samples:,}; does it "
            "pack rows, or leave some out?"
        )
    if told.epochs is not None and "epochs" in task.command.placeholders and told.epochs < config.epochs - WHOLE_EPOCH:
        found.append(f"the trainer stopped after {told.epochs:g} of {config.epochs} epochs")
    num_bad = sum(not math.isfinite(record["loss"]) for record in told.log)
    if num_bad:
        found.append(f"{num_bad:,} of {len(told.log):,} logged losses are not finite")
    return found
