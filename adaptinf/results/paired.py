"""The difference of two methods on the same seeds and test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptinf.results.intervals import PairedTest, paired_test
from adaptinf.results.records import ItemScores, RunRecord


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runs with the same seed."""

    skills: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Skill -> scores of both runs on the items that both answered, in the same order."""
    items: Mapping[str, str]
    """Skill -> a key of these items: pairs with the same key have the same items in the same order."""
    frequency: Mapping[str, float]
    """Skill -> its share of the stream; NaN: unknown."""


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


def compare_pairs(pairs: Sequence[Pair]) -> PairedDifference:
    """Return the difference of the first and second runs of all pairs; each pair must share a skill."""
    differences = [{skill: one - other for skill, (one, other) in pair.skills.items()} for pair in pairs]
    same_items = all(pair.items == pairs[0].items for pair in pairs)
    return PairedDifference(
        accuracy=float(np.mean([np.mean([one.mean() for one, _ in pair.skills.values()]) for pair in pairs])),
        baseline=float(np.mean([np.mean([other.mean() for _, other in pair.skills.values()]) for pair in pairs])),
        macro=paired_test(differences, same_items=same_items),
        micro=paired_test(differences, weights=[pair.frequency for pair in pairs], same_items=same_items),
        num_skills=min(len(pair.skills) for pair in pairs),
        num_seeds=len(pairs),
    )


def paired_difference(records: Sequence[RunRecord], baseline: Sequence[RunRecord]) -> PairedDifference | str:
    """Return the difference of two rows over their common seeds, or the reason why they cannot be compared."""
    others = {record.seed: record for record in baseline}
    pairs = [(record, others[record.seed]) for record in records if record.seed in others]
    if not pairs:
        return "no seed in common"
    for one, other in pairs:
        wrong = other_items(one, other)
        if wrong:
            return f"different test items of {', '.join(wrong)} in seed {one.seed}"
    found = [_pair(one, other) for one, other in pairs]
    return compare_pairs(found) if all(pair.skills for pair in found) else "no test items"


def other_items(one: RunRecord, other: RunRecord) -> list[str]:
    """Return the skills whose test items differ between two runs."""
    skills = list(dict.fromkeys([*one.items, *other.items]))
    return [skill for skill in skills if _digest(one.items.get(skill)) != _digest(other.items.get(skill))]


def _digest(items: ItemScores | None) -> str:
    return "" if items is None else items.digest


def frequency_of(record: RunRecord) -> dict[str, float]:
    """Return skill -> its share of the stream."""
    return dict(zip(record.skills, record.frequency.tolist(), strict=True))


def _pair(one: RunRecord, other: RunRecord) -> Pair:
    skills, items = {}, {}
    for skill, mine in one.items.items():
        theirs = other.items[skill]
        is_scored = np.isfinite(mine.scores) & np.isfinite(theirs.scores)
        if is_scored.any():
            skills[skill] = (mine.scores[is_scored], theirs.scores[is_scored])
            left_out = np.flatnonzero(~is_scored).tolist()
            items[skill] = f"{mine.digest} without {left_out}" if left_out else mine.digest
    return Pair(skills=skills, items=items, frequency=frequency_of(one))
