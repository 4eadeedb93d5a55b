"""Time and memory of step 2: `select` with method `adapt` compared with plain NumPy, 10^4 to 10^6 samples, one core.

python -m benchmarks.selection            # about a minute
python -m benchmarks.selection --quick    # seconds; shows that the script runs, not how fast the code is
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from adaptinf.selection import select
from adaptinf.selection.methods.score_only import SCORERS
from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import Report, arguments_of, row_of
from benchmarks.samples import ids_of

NUM_CLUSTERS = 50
BUDGET_SHARE = 0.025
"""Budget over samples: 25,000 of a million, the paper's smaller budget."""
NUM_BINS = 50


def inputs(num_rows: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return scores, one with missing values, and cluster numbers; the clusters differ much in size."""
    rng = np.random.default_rng(0)
    scores = {name: rng.gamma(2.0 + number, size=num_rows) for number, name in enumerate(SCORERS)}
    scores["image_grounding"][rng.random(num_rows) < 0.02] = np.nan
    return scores, (NUM_CLUSTERS * rng.random(num_rows) ** 2).astype(np.int64)


def in_form(form: str, num_rows: int) -> Any:  # Any: select accepts ids in many forms
    """Return the same ids in one of the forms that users have."""
    if form == "list in any order":
        return ids_of(num_rows)
    in_order = sorted(ids_of(num_rows))  # texts scattered in memory, as after a sort or a join
    if form == "list in order, scattered in memory":
        return in_order
    return pa.array(in_order) if form == "Arrow, in order" else np.array(in_order)


def ours(num_rows: int, form: str) -> Work:
    scores, labels = inputs(num_rows)
    ids = in_form(form, num_rows)
    budget = int(BUDGET_SHARE * num_rows)

    def work() -> dict[str, int]:
        chosen = select(scores, labels, ids, budget, scorers=SCORERS)
        return {"chosen": len(chosen.ids)}

    return work


def plain(num_rows: int) -> Work:
    """The usual method: a mask per cluster, a histogram per score, bins from the smallest up, as in the reference."""
    scores, labels = inputs(num_rows)
    budget = int(BUDGET_SHARE * num_rows)

    def work() -> dict[str, int]:
        rng = np.random.default_rng(0)
        chosen = [rows for rows in _plain_choice(scores, labels, budget // NUM_CLUSTERS, rng)]
        return {"chosen": len(np.concatenate(chosen))}

    return work


def _plain_choice(
    scores: dict[str, np.ndarray], labels: np.ndarray, budget: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    for cluster in range(NUM_CLUSTERS):
        rows = np.flatnonzero(labels == cluster)
        best = max(SCORERS, key=lambda name: _plain_entropy(np.nan_to_num(scores[name][rows])))
        values = np.nan_to_num(scores[best][rows])
        rows, values = rows[np.argsort(values)], np.sort(values)
        cut = len(rows) // 20
        rows, values = rows[cut : len(rows) - cut], values[cut : len(rows) - cut]
        edges = np.linspace(values.min(), values.max(), NUM_BINS + 1)
        bins = [rows[(values >= low) & (values <= high)] for low, high in zip(edges[:-1], edges[1:], strict=True)]
        left = budget
        for at, members in enumerate(sorted(bins, key=len)):
            share = min(len(members), left // (NUM_BINS - at))
            yield rng.choice(members, share, replace=False)
            left -= share


def _plain_entropy(values: np.ndarray) -> float:
    counts, _ = np.histogram((values - values.mean()) / values.std(), bins=NUM_BINS, range=(-4, 4))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def bare_bound(num_rows: int) -> Work:
    """A lower bound on any method: group the rows of each cluster, and read every score once."""
    scores, labels = inputs(num_rows)

    def work() -> dict[str, float]:
        order = np.argsort(labels.astype(np.uint16), kind="stable")
        return {"sum": sum(float(np.nansum(score[order])) for score in scores.values())}

    return work


def main() -> None:
    arguments = arguments_of(__doc__)
    sizes = [1_000, 2_000] if arguments.quick else [10_000, 100_000, 1_000_000]

    report = Report("selection", "Selection with `adapt`, 5 scores, 50 clusters, one core: time and memory")
    seconds: dict[str, list[float]] = {}
    for num_rows in sizes:
        report.text(f"## {num_rows:,} samples, budget {int(BUDGET_SHARE * num_rows):,}\n")
        cases = measured_cases(num_rows, repeats=2 if arguments.quick else 5)
        usual = next(iter(cases.values()))
        report.table([row_of(name, case, against=usual) for name, case in cases.items()])
        for name, case in cases.items():
            seconds.setdefault(name, []).append(case.seconds)
    report.growth(sizes, seconds)
    report.write(arguments.out)


def measured_cases(num_rows: int, repeats: int) -> dict[str, Measured]:
    options: dict[str, Any] = {"num_rows": num_rows, "repeats": repeats, "cores": 1}  # Any: keyword arguments
    forms = ("Arrow, in order", "numpy text, in order", "list in order, scattered in memory", "list in any order")
    return {
        "plain NumPy, positions for ids, inexact budgets": measure(plain, **options),
        **{f"adapt, ids: {form}": measure(ours, form=form, **options) for form in forms},
        "bare bound: sort labels, read scores once": measure(bare_bound, **options),
    }


if __name__ == "__main__":
    main()
