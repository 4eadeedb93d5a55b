"""What the gate made of the steps of a run: which were rolled back, which one has stopped the run."""

from __future__ import annotations

import filecmp
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import xxhash

from adaptinf.config import GateConfig, RunConfig
from adaptinf.data import Evaluation, SavedPruning, Trained
from adaptinf.data.gate import Gate
from adaptinf.errors import GateStopped
from adaptinf.evaluation.gate import without_base
from adaptinf.runs import events
from adaptinf.runs.layout import BASE, BASE_STEP, Layout
from adaptinf.runs.methods import method_traits
from adaptinf.storage import checksums, store, verified

Outcome = Literal["passed", "warned", "stopped", "accepted", "rolled back"]
"""What became of a step under the gate; accepted: it was stopped, and its user has accepted it."""
DONE: Mapping[Outcome, str] = {
    "passed": "the gate passed",
    "warned": "the gate warned, and the run went on",
    "stopped": "the gate stopped the run",
    "accepted": "the gate stopped the run, and the step was accepted",
    "rolled back": "the gate rolled the step back, and the run went on from the model before it",
}
"""What became of a step, in words."""
GATE = "gate"
"""In accepted.jsonl: a stopped step that was accepted."""
ROLE_WITHOUT_GATE = ("upper reference", "reference")
"""Roles of methods that show what is possible, such as multitask and oracle: no gate judges them."""


def gate_of(config: RunConfig) -> GateConfig | None:
    """Return the gate that judges the steps of a run; None: there is none, or the method has no use for it."""
    if config.evaluation_gate is None or method_traits(config).role in ROLE_WITHOUT_GATE:
        return None
    return config.evaluation_gate


def problems(config: RunConfig, folder: Path | None) -> list[str]:
    """Return a line per reason why the gate could judge nothing, before anything is measured.

    Args:
        config: the settings.
        folder: of the run, whose base model may have been tested; None: there is none yet.
    """
    gate = config.evaluation_gate
    if gate is None:
        return []
    if not config.evaluation:
        return ["evaluation_gate: evaluation is empty, so there is nothing to judge; list skills, or leave it out"]
    base = None if folder is None else folder / BASE / Evaluation.stage
    if base is None or not base.exists():
        return []
    untested = without_base([skill.skill for skill in config.evaluation], Evaluation.load_scores(base))
    if not untested:
        return []
    return [
        f"evaluation_gate: the base model was not tested on {', '.join(map(repr, untested))}, which came later, so "
        f"there is no row to compare with; delete {base} to have it tested on all skills, or leave the skill out"
    ]


def unused(config: RunConfig) -> list[str]:
    """Return a line where the method has no use for a gate."""
    if config.evaluation_gate is None or gate_of(config) is not None:
        return []
    return [f"evaluation_gate has no effect: {config.selection.method} shows what is possible, and no gate judges it"]


def gate_at(run: Layout, step: int) -> Gate | None:
    """Return what the gate found of a step; None: it was not judged.

    Raises:
        StoreError: the file is damaged, or is gone.
    """
    folder = run.stage_folder(step, Evaluation)
    return Gate.load(folder) if verified.is_there(folder / Gate.FILE) else None


def outcome_of(run: Layout, step: int) -> Outcome | None:
    """Return what became of a step under the gate; None: it was not judged."""
    gate = gate_at(run, step)
    if gate is None:
        return None
    if gate.is_rejected:
        return "rolled back"
    if gate.is_passed:
        return "passed"
    if gate.action != "stop":
        return "warned"
    return "accepted" if run.has(step, SavedPruning) or is_accepted(run, step) else "stopped"


def is_rolled_back(run: Layout, step: int) -> bool:
    """Tell whether the model after a step is that before it, as the gate has taken the training back.

    Where the evaluation is gone the folder of the rejected model tells; where that was deleted, the log and the bytes.
    """
    if step <= BASE_STEP:
        return False
    if run.has(step, Evaluation):
        gate = gate_at(run, step)
        return gate is not None and gate.is_rejected
    return run.rejected_model_folder(step).exists() or was_taken_back(run, step)


def was_taken_back(run: Layout, step: int) -> bool:
    """Tell whether the model of a step is that of the step before since a rollback, without what the step trained.

    Equal bytes alone do not say so: a training may have changed nothing.
    """
    if not run.has(step, Trained):
        return False
    return events.is_taken_back(run.events_file, step, Trained.stage) and _is_that_before(run, step)


def _is_that_before(run: Layout, step: int) -> bool:
    """Tell whether the model of a step is that of the step before, at first: whether it has no weights."""
    model = run.stage_folder(step, Trained)
    if not step:
        return not Trained.weights(model)
    before = run.stage_folder(step - 1, Trained)
    names = [sorted(name for name, _ in checksums.files_of(folder)) for folder in (model, before)]
    if names[0] != names[1] or not before.exists():
        return False
    sums = [checksums.load(folder) for folder in (model, before)]
    if None not in sums:
        return sums[0] == sums[1]
    return all(filecmp.cmp(model / name, before / name, shallow=False) for name in names[0])


def kept_steps(run: Layout, step: int) -> list[int]:
    """Return the steps up to one whose training was kept."""
    return [older for older in range(step + 1) if not is_rolled_back(run, older)]


def newest_kept(run: Layout, step: int) -> int:
    """Return the newest step up to one whose training was kept; -1: of none, so that the model is that of the start."""
    while step > BASE_STEP and is_rolled_back(run, step):
        step -= 1
    return step


def rolled_back_steps(run: Layout, num_steps: int) -> list[int]:
    """Return the first `num_steps` steps that were rolled back."""
    return [step for step in range(num_steps) if is_rolled_back(run, step)]


def stopped_step(run: Layout) -> int | None:
    """Return the step after which the gate has stopped the run; None: it has not, or the step was accepted."""
    step = run.num_finished
    return step if outcome_of(run, step) == "stopped" else None


def rejected_rows(run: Layout, evaluation: Evaluation) -> tuple[int, ...]:
    """Return the rows of a matrix that count nowhere: those rolled back, and one at which the run is stopped."""
    stopped = stopped_step(run)
    is_last = stopped is not None and len(evaluation.matrix) == stopped + 2
    return (*evaluation.rejected_rows, *([len(evaluation.matrix) - 1] if is_last else []))


def accepted_evaluation_step(run: Layout, last: int) -> int | None:
    """Return the newest step up to `last` whose evaluation counts, -1 for the base model; None: there is none."""
    steps = range(last, BASE_STEP - 1, -1)
    tested = (step for step in steps if run.has(step, Evaluation))
    return next((step for step in tested if outcome_of(run, step) not in ("rolled back", "stopped")), None)


def gate_lines(run: Layout, steps: Iterable[int]) -> Iterator[str]:
    """Yield what the gate made of each of some steps that it did not pass, and what it could not decide."""
    for step in steps:
        gate, outcome = gate_at(run, step), outcome_of(run, step)
        if gate is not None and outcome is not None:
            lines = list(gate.lines())
            if lines or outcome != "passed":
                yield "; ".join([f"step {step}: {DONE[outcome]}", *lines])


def digest_of(run: Layout, step: int) -> str:
    """Return what stands for the findings of a gate, so that another test of the step is accepted anew."""
    return xxhash.xxh3_64_hexdigest((run.stage_folder(step, Evaluation) / Gate.FILE).read_bytes())


def is_accepted(run: Layout, step: int) -> bool:
    """Tell whether the user has accepted a stopped step, with these findings."""
    lines: Sequence[dict[str, object]] = store.read_lines(run.accepted_file)
    own = [line.get("now") for line in lines if line.get("what") == GATE and line.get("step") == step]
    return bool(own) and {GATE: digest_of(run, step)} in own


def has_kept_weights(run: Layout) -> bool:
    """Tell whether any step has weights that later steps go on from."""
    steps = range(run.num_begun - 1, BASE_STEP, -1)
    return any(run.has(step, Trained) and not is_rolled_back(run, step) for step in steps)


def check_gate(run: Layout, step: int) -> None:
    """Refuse to go on after a step at which the gate has stopped the run.

    Raises:
        GateStopped: with what was lost, and the two ways on.
    """
    gate = gate_at(run, step)
    if gate is None or outcome_of(run, step) != "stopped":
        return
    found = "; ".join(skill.line for skill in gate.of("dropped"))
    raise GateStopped(
        f"{run.folder}: evaluation_gate stops the run after step {step}: lost more than {gate.max_drop:g} points: "
        f"{found}. To go on from this model: adaptinf accept {shlex.quote(str(run.folder))} gate; to take the step "
        f"again: delete {run.step_folder(step)}; then repeat the command"
    )
