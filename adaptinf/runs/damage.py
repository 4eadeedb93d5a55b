"""What a run folder has lost: a step refuses to go on from an incomplete one, and says how to make it whole."""

from __future__ import annotations

from pathlib import Path

from adaptinf.data import Evaluation, SavedPruning, Trained
from adaptinf.errors import StoreError
from adaptinf.runs import Run
from adaptinf.runs.layout import BASE_STEP
from adaptinf.storage import verified


def check_history(run: Run, step: int) -> None:
    """Check that what a step needs of earlier ones is there: their datasets, what they pruned, the last evaluation.

    Raises:
        StoreError: something is missing; the message names it and the way out.
    """
    if _last_begun(run) >= 0 and not run.pinned_config_file.exists():
        raise StoreError(
            f"{run.pinned_config_file} is missing, which holds the settings of the steps; bring back a copy, or copy "
            f"{run.config_file} there if it has not been edited since"
        )
    for earlier in range(max(step, _last_begun(run))):
        dataset = run.dataset_folder(earlier)
        if not dataset.exists():
            raise StoreError(
                f"{dataset} is missing, and with it the samples that arrived at step {earlier}; bring back a copy, or "
                "begin again with another --out"
            )
        if not run.has(earlier, SavedPruning):
            raise _missing(run, earlier, run.stage_folder(earlier, SavedPruning))
    if _had_evaluation(run, step - 1) and not run.has(step - 1, Evaluation):
        raise _missing(run, step - 1, run.stage_folder(step - 1, Evaluation))


def weights_folder(run: Run, step: int) -> Path:
    """Return the folder of the weights that a step trained.

    Raises:
        StoreError: the folder or a file of it is missing or damaged, or a file was added.
    """
    folder = run.stage_folder(step, Trained)
    if not folder.exists():
        raise _missing(run, step, folder)
    lacking = Trained.lacking(folder)
    if lacking:
        raise StoreError(f"{folder} lacks {', '.join(lacking)}: {_way_out(run, step)}")
    # Here, as the libraries that load them, and other processes, take the files as they are.
    verified.check_folder(folder)
    return folder


def _missing(run: Run, step: int, folder: Path) -> StoreError:
    return StoreError(f"{folder} is missing: {_way_out(run, step)}")


def _way_out(run: Run, step: int) -> str:
    before = "the base model" if step == 0 else f"step {step - 1}"
    return (
        f"bring back a copy, or delete {run.step_folder(step)} and all later steps; then repeat the command, or run "
        f"adaptinf step {run.folder}, which makes these steps again from {before}"
    )


def _last_begun(run: Run) -> int:
    """Return the number of the newest step that has a folder; -1 for a run without steps."""
    names = [path.name for path in run.steps_folder.glob("*") if path.is_dir()] if run.steps_folder.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=-1)


def _had_evaluation(run: Run, step: int) -> bool:
    """Tell whether a step's skills have been tested: an old run may have got its tests later."""
    if step <= BASE_STEP:
        return False
    return (step, Evaluation.stage) in run.seconds()
