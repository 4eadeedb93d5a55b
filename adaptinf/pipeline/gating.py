"""The gate between evaluation and pruning: what a step has lost, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

from adaptinf.data import Evaluation, SavedPruning
from adaptinf.data.gate import Gate
from adaptinf.evaluation.gate import judged
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.gates import check_gate, gate_at, gate_lines, gate_of
from adaptinf.runs.rollback import place_model


def with_gate(run: Run, step: int, evaluation: Evaluation) -> Evaluation:
    """Return an evaluation with what the gate finds of it, and with the rows that earlier gates have rejected.

    It is saved in one piece with the evaluation: no step is tested and not judged, whatever is killed.
    """
    if step == BASE_STEP:
        return evaluation
    previous = run.newest(Evaluation, before=step)
    before = replace(evaluation, rejected_rows=() if previous is None else previous.rejected_rows)
    settings = gate_of(run.settings)
    if settings is None:
        return before
    gate = judged(
        before,
        lambda row: run.load(row - 1, Evaluation),
        max_drop=settings.max_drop,
        action=settings.action,
    )
    gate = replace(gate, is_rejected=_is_rejected(run, step, gate))
    rejected = (*before.rejected_rows, *([len(before.matrix) - 1] if gate.is_rejected else []))
    return replace(before, rejected_rows=rejected, gate=gate)


def _is_rejected(run: Run, step: int, gate: Gate) -> bool:
    """Tell whether a step is rolled back; of one that is finished, and tested again, whether it was."""
    if run.has(step, SavedPruning):
        return run.rejected_model_folder(step).exists()
    return gate.action == "rollback" and not gate.is_passed


def note_gate(run: Run, step: int) -> None:
    """Report what the gate has found of a step, unless nothing was lost; with the first one also how it compares."""
    gate = gate_at(run, step)
    if gate is not None and gate.size_line and gate_at(run, step - 1) is None:
        run.progress.note(f"the gate: {gate.size_line}")
    for line in gate_lines(run, [step]):
        run.progress.note(line)


def settle(run: Run, step: int) -> None:
    """Do with a tested step what the gate says: give it its model, or end the run.

    Raises:
        GateStopped: the gate stops the run, and the user has not accepted the step.
    """
    place_model(run, step)
    check_gate(run, step)
