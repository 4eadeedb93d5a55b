"""The summary of a run: the numbers of its row in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adaptinf.data.evaluation import since_breaks
from adaptinf.evaluation import metrics
from adaptinf.results.records import RunRecord
from adaptinf.selection.traits import methods_with_role


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of one run; accuracies in 0..1, gains and rates in percent."""

    name: str
    """Name of the row."""
    method: str
    """Name of the selector."""
    seed: int
    """Seed of the run."""
    num_steps: int
    """Number of finished steps."""
    macro: float
    """Average accuracy over skills."""
    micro: float
    """Average accuracy, each skill weighted by its share of the stream."""
    rare: float
    """Average accuracy over rare skills."""
    common: float
    """Average accuracy over the other skills."""
    relative_gain: float
    """Accuracy in percent of the reference, mean over skills; NaN without a reference."""
    gain_left_out: int
    """Skills that the relative gain leaves out because their reference is below one test item."""
    worst_skill: float
    """The lowest accuracy of any skill."""
    over_time: float
    """Mean over steps of the average accuracy on the skills introduced so far."""
    forgetting_signed: float
    """Forgetting rate in percent, gains counted against losses."""
    forgetting_clipped: float
    """Forgetting rate in percent, gains counted as 0."""
    forgetting_left_out: int
    """(skill, step) pairs that both rates leave out because the earlier accuracy was below one test item."""
    max_forgetting: float
    """Best earlier accuracy of a skill minus its last one, mean over skills, 0..1."""
    backward_transfer: float
    """Last accuracy of a skill minus that right after its introduction, mean over skills, 0..1."""
    forward_transfer: float
    """Accuracy that a skill gained before its own data arrived, mean over skills, 0..1."""
    samples_trained: int
    """Samples trained on in all steps; epochs are not counted."""
    selection_seconds: float
    """Seconds of extraction, clustering, selection and pruning."""
    training_seconds: float
    """Seconds of training."""
    strict_and_tolerant: StrictAndTolerant | None = None
    """The numbers of both scores over the same tested values; None: no tolerant score is known after the last step."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class StrictAndTolerant:
    """A run's numbers by the strict and by the tolerant score, which counts an answer whatever its format.

    Both are over the tested values of which the tolerant score is known, and thus comparable. Neither has a relative
    gain.
    """

    strict: Summary
    """By the strict score; other numbers than the run's own where `unknown` has skills."""
    tolerant: Summary
    """By the tolerant score."""
    unknown: tuple[str, ...]
    """Skills with tested values whose tolerant score is not known."""


def summarise(record: RunRecord, *, reference: np.ndarray | None = None) -> Summary:
    """Return the summary of a run. `reference`: S upper-reference accuracies for the relative gain; None: it is NaN."""
    # A run that tests no skill has a row as well, for its costs.
    # What a skill was and is compares answers to the same questions alone.
    record = record.accepted
    matrix = record.comparable_matrix if record.skills else np.full((1, 1), np.nan)
    return _summary(record, matrix, reference, strict_and_tolerant(record))


def strict_and_tolerant(record: RunRecord) -> StrictAndTolerant | None:
    """Return the numbers of a run by both scores, over the same tested values."""
    record = record.accepted
    tolerant = since_breaks(record.tolerant, record.skills, record.breaks)
    if not tolerant.size or not np.isfinite(tolerant[-1]).any():
        return None
    strict = np.where(np.isfinite(tolerant), record.comparable_matrix, np.nan)
    return StrictAndTolerant(
        strict=_summary(record, strict, None, None),
        tolerant=_summary(record, tolerant, None, None),
        unknown=unknown_tolerant(record),
    )


def unknown_tolerant(record: RunRecord) -> tuple[str, ...]:
    """Return the skills with tested values whose tolerant score is not known."""
    record = record.accepted
    is_unknown = np.isfinite(record.comparable_matrix) & ~np.isfinite(record.tolerant)
    return tuple(skill for skill, lacks in zip(record.skills, is_unknown.any(axis=0), strict=True) if lacks)


def _summary(
    record: RunRecord, matrix: np.ndarray, reference: np.ndarray | None, both: StrictAndTolerant | None
) -> Summary:
    is_tested = bool(record.skills)
    first = record.introduced_at if is_tested else np.zeros(1, np.int64)
    frequency = record.frequency if is_tested else np.full(1, np.nan)
    is_rare = metrics.rare_skills(frequency)
    num_items = record.num_items if is_tested else None
    forgetting = metrics.forgetting_rate(matrix, first, num_items)
    return Summary(
        name=record.name,
        method=record.method,
        seed=record.seed,
        num_steps=len(record.steps),
        macro=metrics.average_accuracy(matrix),
        micro=metrics.average_accuracy(matrix, frequency),
        rare=metrics.average_accuracy(matrix, is_rare),
        common=metrics.average_accuracy(matrix, ~is_rare),
        relative_gain=float("nan") if reference is None else metrics.relative_gain(matrix, reference, num_items),
        gain_left_out=0 if reference is None else int((~metrics.comparable(reference, num_items)).sum()),
        worst_skill=metrics.worst_skill(matrix),
        over_time=metrics.average_incremental_accuracy(matrix, first),
        forgetting_signed=forgetting.signed,
        forgetting_clipped=forgetting.clipped,
        forgetting_left_out=forgetting.num_left_out,
        max_forgetting=metrics.max_forgetting(matrix, first),
        backward_transfer=metrics.backward_transfer(matrix, first),
        forward_transfer=metrics.forward_transfer(matrix, first),
        samples_trained=sum(step.trained for step in record.steps),
        selection_seconds=sum(step.selection_seconds for step in record.steps),
        training_seconds=sum(step.training_seconds for step in record.steps),
        strict_and_tolerant=both,
    )


def upper_reference(records: Sequence[RunRecord]) -> tuple[np.ndarray | None, str]:
    """Return the reference of the relative gain, and its name.

    It is the last row of the upper reference (multitask) where that was run; else the best that the lower reference
    (sequential) ever reached on each skill; else nothing (docs/evaluation.md).
    """
    tested = [record.accepted for record in records if record.skills and record.steps]
    # A variant of a method stands in for it only where the method itself was not run.
    by_role = {record.method_traits.role: record for record in sorted(tested, key=lambda record: record.is_plain)}
    upper, lower = by_role.get("upper reference"), by_role.get("lower reference")
    if upper is not None:
        return upper.matrix[-1], f"{upper.method}, after the last step"
    if lower is not None:
        return np.fmax.reduce(lower.comparable_matrix, axis=0), f"the best of the {lower.method} run on each skill"
    names = (*methods_with_role("upper reference"), *methods_with_role("lower reference"))
    return None, f"none: neither {' nor '.join(names)} was run"


def reference_for(record: RunRecord, records: Sequence[RunRecord]) -> tuple[np.ndarray | None, str]:
    """Return the relative gain's reference among the records of the same skills, of the same seed if there is one."""
    if not record.steps or not record.skills:
        return None, "nothing: no step was tested"
    alike = [other for other in records if other.steps and other.skills == record.skills]
    same_seed = [other for other in alike if other.seed == record.seed]
    for candidates in (same_seed, alike):
        reference, name = upper_reference(candidates)
        if reference is not None:
            return reference, name
    return None, name


def summaries(records: Sequence[RunRecord]) -> tuple[list[Summary], list[str]]:
    """Return one summary per record, and the names of the references; several only if the skills of runs differ."""
    found = [reference_for(record, records) for record in records]
    rows = [summarise(record, reference=reference) for record, (reference, _) in zip(records, found, strict=True)]
    return rows, list(dict.fromkeys(name for _, name in found))
