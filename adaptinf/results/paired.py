"""The difference of two methods on the same seeds and test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from adaptinf.results.intervals import Differences, PairedTest, SizeAlone, error_of_size, mean_difference, paired_test
from adaptinf.results.items import ItemScores
from adaptinf.results.records import RunRecord
from adaptinf.results.same_tests import other_tests


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runs with the same seed."""

    skills: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Skill -> strict scores of both runs on the items that both answered, in the same order."""
    items: Mapping[str, str]
    """Skill -> a key of these items: pairs with the same key have the same items in the same order."""
    frequency: Mapping[str, float]
    """Skill -> its share of the stream; NaN: unknown."""
    tolerant: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Skill -> tolerant scores on the same items; without skills of which one is unknown."""
    sizes: Mapping[str, tuple[float, SizeAlone]] = field(default_factory=dict)
    """Skill of which single items are not known -> accuracy of the first run, and the difference."""
    unknown: Sequence[str] = ()
    """Skills that are left out: neither their items nor their number is known."""

    @property
    def differences(self) -> Differences:
        """Skill -> strict scores of the first run minus those of the second."""
        by_items = {skill: one - other for skill, (one, other) in self.skills.items()}
        return {**by_items, **{skill: found for skill, (_, found) in self.sizes.items()}}

    @property
    def tolerant_differences(self) -> Differences:
        """Skill -> tolerant scores of the first run minus those of the second."""
        return {skill: one - other for skill, (one, other) in self.tolerant.items()}

    @property
    def format_differences(self) -> Differences:
        """Skill -> what of the strict difference the tolerant one does not have: it is one of format only."""
        strict = {skill: one - other for skill, (one, other) in self.skills.items()}
        return {skill: strict[skill] - found for skill, found in self.tolerant_differences.items()}

    @property
    def accuracy(self) -> float:
        """Mean accuracy of the first run over skills."""
        means = [float(one.mean()) for one, _ in self.skills.values()]
        return float(np.mean([*means, *(mine for mine, _ in self.sizes.values())]))


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """A method against another one; accuracies in 0..1."""

    accuracy: float
    """Average accuracy of the method on the shared items, mean over seeds."""
    baseline: float
    """The same for the other method."""
    macro: PairedTest
    """Difference of the average accuracies."""
    micro: PairedTest
    """The same, with each skill weighted by its share of the stream; NaN if the data name no skills."""
    num_skills: int
    """Number of skills that both test."""
    num_seeds: int
    """Number of seeds that both have."""
    tolerant: PairedTest
    """Difference of the average tolerant accuracies, over the skills of which both know them; NaN: none."""
    format_only: PairedTest
    """What of the strict difference on these skills is one of format only; NaN as above."""
    num_tolerant: int
    """Number of these skills."""
    by_size: tuple[str, ...] = ()
    """Skills that are compared by their accuracy and size alone, as the scores of single items are not known."""
    left_out: tuple[str, ...] = ()
    """Skills that are left out: neither their items nor their number is known."""


def compare_pairs(pairs: Sequence[Pair]) -> PairedDifference:
    """Return the difference of the first and second runs of all pairs; each pair must share a skill."""
    same_items = all(pair.items == pairs[0].items and pair.sizes.keys() == pairs[0].sizes.keys() for pair in pairs)
    tolerant, format_only = (
        _in_all_seeds([getattr(pair, name) for pair in pairs])
        for name in ("tolerant_differences", "format_differences")
    )
    strict = [pair.differences for pair in pairs]
    accuracy = float(np.mean([pair.accuracy for pair in pairs]))
    mean = float(np.mean([np.mean([mean_difference(found) for found in skills.values()]) for skills in strict]))
    return PairedDifference(
        accuracy=accuracy,
        baseline=accuracy - mean,
        macro=paired_test(strict, same_items=same_items),
        micro=paired_test(strict, weights=[pair.frequency for pair in pairs], same_items=same_items),
        num_skills=min(len(skills) for skills in strict),
        num_seeds=len(pairs),
        tolerant=paired_test(tolerant, same_items=same_items),
        format_only=paired_test(format_only, same_items=same_items),
        num_tolerant=len(tolerant[0]),
        by_size=tuple(dict.fromkeys(skill for pair in pairs for skill in pair.sizes)),
        left_out=tuple(dict.fromkeys(skill for pair in pairs for skill in pair.unknown)),
    )


def _in_all_seeds(seeds: Sequence[Differences]) -> list[Differences]:
    """Return the differences of the skills that every seed has."""
    common = [skill for skill in seeds[0] if all(skill in skills for skills in seeds)]
    return [{skill: skills[skill] for skill in common} for skills in seeds]


def paired_difference(records: Sequence[RunRecord], baseline: Sequence[RunRecord]) -> PairedDifference | str:
    """Return the difference of two rows over their common seeds, or the reason why they cannot be compared."""
    others = {record.seed: record for record in baseline}
    pairs = [(record, others[record.seed]) for record in records if record.seed in others]
    if not pairs:
        return "no seed in common"
    for one, other in pairs:
        wrong = other_tests(one, other)
        if wrong:
            texts = [f"{skill} ({what})" for skill, what in wrong.items()]
            return f"different tests of {', '.join(texts)} in seed {one.seed}"
    found = [_pair(one, other) for one, other in pairs]
    return compare_pairs(found) if all(pair.differences for pair in found) else "no test items"


def frequency_of(record: RunRecord) -> dict[str, float]:
    """Return skill -> its share of the stream."""
    return dict(zip(record.skills, record.frequency.tolist(), strict=True))


def _pair(one: RunRecord, other: RunRecord) -> Pair:
    skills: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    tolerant: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    items, sizes, unknown = {}, {}, []
    for skill in one.skills:
        mine, theirs = one.items.get(skill), other.items.get(skill)
        is_scored = np.zeros(0, bool)
        if mine is not None and theirs is not None and len(mine.scores) == len(theirs.scores):
            is_scored = np.isfinite(mine.scores) & np.isfinite(theirs.scores)
        if mine is not None and theirs is not None and is_scored.any():
            skills[skill] = (mine.scores[is_scored], theirs.scores[is_scored])
            left_out = np.flatnonzero(~is_scored).tolist()
            items[skill] = f"{mine.digest} without {left_out}" if left_out else mine.digest
            tolerant |= _tolerant(skill, mine, theirs, is_scored)
            continue
        # A harness may log no items, or items without scores of their own.
        found = _by_size(one, other, skill)
        if found is not None and np.isfinite(found[1].standard_error):
            sizes[skill] = found
        elif found is not None:
            unknown.append(skill)
    return Pair(
        skills=skills,
        items=items,
        frequency=frequency_of(one),
        tolerant=tolerant,
        sizes=sizes,
        unknown=unknown,
    )


def _tolerant(
    skill: str, mine: ItemScores, theirs: ItemScores, is_scored: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the skill's tolerant scores of both runs; nothing where that of an item is unknown."""
    both = (mine.tolerant[is_scored], theirs.tolerant[is_scored])
    return {skill: both} if all(np.isfinite(scores).all() for scores in both) else {}


def _by_size(one: RunRecord, other: RunRecord, skill: str) -> tuple[float, SizeAlone] | None:
    """Return accuracy of the first and difference of two runs; None where one has not tested the skill."""
    if skill not in other.skills:
        return None
    return size_difference(*(_accuracy(record, skill) for record in (one, other)))


def _accuracy(record: RunRecord, skill: str) -> Accuracy:
    column = record.skills.index(skill)
    return Accuracy(
        float(record.accepted.matrix[-1, column]), float(record.standard_errors[column]), int(record.num_items[column])
    )


class Accuracy(NamedTuple):
    """The accuracy of a run on one skill."""

    value: float
    """0..1; NaN: not tested."""
    standard_error: float
    """That of the harness; NaN: it gives none."""
    num_items: int
    """Number of test items; 0: unknown."""

    @property
    def error(self) -> float:
        """Its standard error: that of the harness, else that of its size; NaN: unknown."""
        has_own = np.isfinite(self.standard_error)
        return self.standard_error if has_own else error_of_size(self.value, self.num_items)


def size_difference(one: Accuracy, other: Accuracy) -> tuple[float, SizeAlone] | None:
    """Return the first accuracy, and the difference with its standard error (NaN: unknown); None: not tested."""
    if not np.isfinite(one.value) or not np.isfinite(other.value):
        return None
    return one.value, SizeAlone(one.value - other.value, float(np.hypot(one.error, other.error)))
