"""The columns of the data that a run selects by: refused where no row has a number, counted where some lack one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from adaptinf.data import Features
from adaptinf.errors import ConfigError
from adaptinf.pool import Pool
from adaptinf.pool.column_scores import column_scores, numeric_columns
from adaptinf.runs import Run
from adaptinf.scoring.columns import column_of, columns_in, listed
from adaptinf.words import counted, shortened

SHOWN_DATASETS = 3
"""Datasets that a message names."""
SHOWN_NAME = 80
"""Characters of a column's name that a message shows."""


def named_columns(run: Run, step: int, pool: Pool) -> dict[str, np.ndarray]:
    """Return the scores `column:NAME` that the run's method names, for the pool of a step; none if it has features.

    How many samples lack a number is noted; such a sample is not scored by the column, as one that a scorer gives NaN.

    Raises:
        ConfigError: no sample of the pool has a number under such a name.
    """
    names = columns_in(run.selection_options.values())
    if not names or not len(pool) or run.has(step, Features):
        return {}
    found = column_scores(pool, names)
    _refuse_empty(found, pool)
    for line in without_number(found, pool):
        run.progress.note(line)
    return found


def _refuse_empty(found: Mapping[str, np.ndarray], pool: Pool) -> None:
    empty = [name for name, scores in found.items() if not np.isfinite(scores).any()]
    if not empty:
        return
    columns = numeric_columns(pool).qualifying()
    others = f"columns that have: {listed(columns)}" if columns else "no column of the data has, in most rows"
    raise ConfigError(
        f"selection names {shortened(empty[0], SHOWN_NAME)}, but no sample of the pool has a number under "
        f"{shortened(column_of(empty[0]) or '', SHOWN_NAME)!r}; {others}"
    )


def without_number(found: Mapping[str, np.ndarray], pool: Pool) -> list[str]:
    """Return a line per score of which samples have none, with the datasets that most of them are of."""
    lines = []
    for name, scores in found.items():
        is_missing = ~np.isfinite(scores)
        if is_missing.any():
            most = Counter(pool.sources[is_missing].tolist()).most_common(SHOWN_DATASETS)
            datasets = ", ".join(f"{source} {count:,}" for source, count in most)
            rest = f"{counted(int(is_missing.sum()), 'sample')} of {len(pool):,} without a number ({datasets})"
            lines.append(f"{shortened(name, SHOWN_NAME)}: {rest}; in their clusters they come after those with one")
    return lines
