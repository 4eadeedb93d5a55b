"""Whether the rows of a table are comparable: the same training budget, test items, cap and number of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from adaptinf.results.paired import PairedDifference
from adaptinf.results.records import RunRecord
from adaptinf.results.same_tests import other_tests
from adaptinf.results.summary import unknown_tolerant


def common_budget(records: Sequence[RunRecord]) -> int:
    """Return the most frequent budget, in samples per step; of equally frequent ones the smallest."""
    counts = Counter(record.budget for record in records)
    return min(counts, key=lambda budget: (-counts[budget], budget)) if counts else 0


def trained_more(records: Sequence[RunRecord]) -> list[str]:
    """Return one line per row that trained on more samples in a step than the common budget."""
    budget, lines = common_budget(_bounded(records)), {}
    for record in _bounded(records):
        for number, step in enumerate(record.steps):
            if step.trained > budget and record.name not in lines:
                lines[record.name] = (
                    f"{record.name} trained on {step.trained:,} samples in step {number} of seed {record.seed}; the "
                    f"budget of this comparison is {budget:,}; give it the same budget, or compare it separately"
                )
    return list(lines.values())


def trained_fewer(records: Sequence[RunRecord]) -> dict[str, list[int]]:
    """Return the samples that each row trained on less than the others: row -> one number per seed; only rows with any.

    "The others" is the row that trained on most samples in the same step and seed, within the budget.
    """
    budget, bounded = common_budget(_bounded(records)), _bounded(records)
    most: dict[tuple[int, int], int] = {}
    for record in bounded:
        for number, step in enumerate(record.steps):
            if step.trained <= budget:
                place = (record.seed, number)
                most[place] = max(most.get(place, 0), step.trained)
    missing: dict[str, list[int]] = {}
    for record in bounded:
        lacks = [max(0, most.get((record.seed, at), 0) - step.trained) for at, step in enumerate(record.steps)]
        missing.setdefault(record.name, []).append(sum(lacks))
    return {name: counts for name, counts in missing.items() if any(counts)}


def _bounded(records: Sequence[RunRecord]) -> list[RunRecord]:
    return [record for record in records if not record.method_traits.whole_pool]


def fewer_lines(missing: dict[str, list[int]]) -> list[str]:
    """Return one line per row that trained on fewer samples."""
    lines = []
    for name, counts in missing.items():
        number = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
        lines.append(f"{name} trained on {number} fewer samples per seed than the others")
    return lines


def test_lines(records: Sequence[RunRecord], baseline: str) -> list[str]:
    """Return one line per run that was tested otherwise than the baseline (or the first row) with its seed."""
    lines = []
    for seed in sorted({record.seed for record in records}):
        own = [record for record in records if record.seed == seed]
        first = next((record for record in own if record.name == baseline), own[0])
        for record in own:
            wrong = [f"{skill} ({what})" for skill, what in other_tests(record, first).items()]
            if wrong:
                some = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
                lines.append(
                    f"seed {seed}: {record.name} and {first.name} were tested differently on {some}, so they are not "
                    "compared item by item; delete the run that is out of date and run it again"
                )
    return lines


def size_lines(found: Sequence[PairedDifference]) -> list[str]:
    """Return the lines about skills of which the scores of single items are not known."""
    by_size = list(dict.fromkeys(skill for one in found for skill in one.by_size))
    left_out = list(dict.fromkeys(skill for one in found for skill in one.left_out))
    lines = []
    if by_size:
        lines.append(
            f"compared by their accuracy and size alone, as no scores of single items are known: {', '.join(by_size)}; "
            "this widens the intervals"
        )
    if left_out:
        lines.append(
            f"left out of the differences to the baseline, as neither items nor their number is known: "
            f"{', '.join(left_out)}"
        )
    return lines


def tolerant_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return the line about skills whose tolerant accuracy is not known; nothing where none is known at all."""
    if not any(np.isfinite(record.tolerant).any() for record in records):
        return []
    unknown = dict.fromkeys(skill for record in records for skill in unknown_tolerant(record))
    if not unknown:
        return []
    return [f"tolerant accuracies are not known, in whole or in part, and left out beside them: {', '.join(unknown)}"]


def cap_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return one line that names the rows with a cap, and whether they have the same cap."""
    caps: dict[int, list[str]] = {}
    for record in records:
        if record.cap is not None and record.name not in caps.setdefault(record.cap, []):
            caps[record.cap].append(record.name)
    if not caps:
        return ["no row has a cap: no samples were pruned"]
    parts = [f"{cap:,} samples ({', '.join(names)})" for cap, names in sorted(caps.items())]
    words = "all rows with a cap have the same" if len(caps) == 1 else "caps differ"
    return [f"{words}: {'; '.join(parts)}"]


def complete(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """Return the records with the largest number of finished steps, and a line that names the others."""
    most = max((len(record.steps) for record in records), default=0)
    behind = [record for record in records if len(record.steps) < most]
    if not behind:
        return list(records), []
    names = ", ".join(f"{record.name} seed {record.seed} ({len(record.steps)})" for record in behind)
    kept = [record for record in records if len(record.steps) == most]
    return kept, [f"left out, because they have not finished all {most} steps: {names}"]


def seed_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return one line per set of seeds that rows lack while others have them."""
    all_seeds = sorted({record.seed for record in records})
    rows: dict[str, list[str]] = {}
    for name in dict.fromkeys(record.name for record in records):
        seeds = {record.seed for record in records if record.name == name}
        lacking = ", ".join(str(seed) for seed in all_seeds if seed not in seeds)
        rows.setdefault(lacking, []).append(name)
    return [
        f"not run with seeds {lacking}, so their means are over fewer seeds: {', '.join(names)}"
        for lacking, names in rows.items()
        if lacking
    ]


def change_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return a line per accepted change or gate within a run, and what its numbers leave out."""
    lines = [
        f"{record.name}, seed {record.seed}: {line}" for record in records for line in (*record.changes, *record.gates)
    ]
    skills = sorted({skill for record in records for skill in record.breaks})
    if skills:
        lines.append(f"forgetting and transfer count from the newest tests on: {', '.join(skills)}")
    return lines
