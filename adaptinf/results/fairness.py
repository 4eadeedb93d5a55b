"""Whether the rows of a table may be compared: the same training budget, the same test items, one cap, all steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adaptinf.config.schema import UPPER_REFERENCE
from adaptinf.results.paired import other_items
from adaptinf.results.records import RunRecord
from adaptinf.results.summary import BASELINE


def common_budget(records: Sequence[RunRecord]) -> int:
    """Return the samples a step that most runs may train on; of two as frequent the smaller one."""
    counts = Counter(record.budget for record in records)
    return min(counts, key=lambda budget: (-counts[budget], budget)) if counts else 0


def trained_more(records: Sequence[RunRecord]) -> list[str]:
    """Return a line for each row that trained on more samples in a step than the common budget."""
    budget, lines = common_budget(_bounded(records)), {}
    for record in _bounded(records):
        for number, step in enumerate(record.steps):
            if step.trained > budget and record.name not in lines:
                lines[record.name] = (
                    f"{record.name} trained on {step.trained:,} samples in step {number} of seed {record.seed}; the "
                    f"budget of this comparison is {budget:,}: give it the same budget, or a comparison of its own"
                )
    return list(lines.values())


def trained_fewer(records: Sequence[RunRecord]) -> dict[str, list[int]]:
    """Return, for each row that trained on fewer samples than the others in any step, how many in each of its seeds.

    What the others trained on is the most of any row in that step and seed, within the budget.
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
    return [record for record in records if record.method != UPPER_REFERENCE]


def fewer_lines(missing: dict[str, list[int]]) -> list[str]:
    """Return a line for each row that trained on fewer samples."""
    lines = []
    for name, counts in missing.items():
        number = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
        lines.append(f"{name} trained on {number} fewer samples a seed than the others")
    return lines


def item_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return a line for each run that answered other test items than random replay (or the first row) of its seed."""
    lines = []
    for seed in sorted({record.seed for record in records}):
        own = [record for record in records if record.seed == seed]
        first = next((record for record in own if record.name == BASELINE), own[0])
        for record in own:
            wrong = other_items(record, first)
            if wrong:
                some = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
                lines.append(
                    f"seed {seed}: {record.name} and {first.name} answered different test items of {some}; they are "
                    "not compared item by item: delete the run that is out of date, and run it again"
                )
    return lines


def cap_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return in a line which rows are capped, and whether by one cap."""
    caps: dict[int, list[str]] = {}
    for record in records:
        if record.cap is not None and record.name not in caps.setdefault(record.cap, []):
            caps[record.cap].append(record.name)
    if not caps:
        return ["no row has a cap on its pool"]
    parts = [f"{cap:,} samples ({', '.join(names)})" for cap, names in sorted(caps.items())]
    words = "capped rows share one cap" if len(caps) == 1 else "caps differ"
    return [f"{words}: {'; '.join(parts)}"]


def complete(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """Return the records that have come as far as the furthest, and a line that names the others."""
    most = max((len(record.steps) for record in records), default=0)
    behind = [record for record in records if len(record.steps) < most]
    if not behind:
        return list(records), []
    names = ", ".join(f"{record.name} seed {record.seed} ({len(record.steps)})" for record in behind)
    kept = [record for record in records if len(record.steps) == most]
    return kept, [f"left out, as they have not finished {most} steps like the others: {names}"]


def seed_lines(records: Sequence[RunRecord]) -> list[str]:
    """Return a line for all rows that lack the same seeds, which others have."""
    all_seeds = sorted({record.seed for record in records})
    rows: dict[str, list[str]] = {}
    for name in dict.fromkeys(record.name for record in records):
        seeds = {record.seed for record in records if record.name == name}
        lacking = ", ".join(str(seed) for seed in all_seeds if seed not in seeds)
        rows.setdefault(lacking, []).append(name)
    return [
        f"not run with seeds {lacking}, so means over fewer: {', '.join(names)}"
        for lacking, names in rows.items()
        if lacking
    ]
