"""Scores that the rows of a pool bring with them, read from what each dataset keeps of its rows' other keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.pool import Pool
from adaptinf.pool.stored import StoredDataset
from adaptinf.scoring.columns import NumericColumns, column_of, number_of

NAMED = ("skill", "task")
"""Keys of rows that have a column of their own."""


def column_scores(pool: Pool, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return N float64 for each score `column:NAME`, in the pool's order; NaN for a row without a number there."""
    found = {name: np.full(len(pool), np.nan) for name in names}
    keys = {name: column_of(name) or "" for name in names}
    for number, dataset in enumerate(pool.datasets if names else ()):
        (places,) = np.nonzero(pool.locations[:, 0] == number)
        rows = pool.locations[places, 1]
        for place, meta in zip(places.tolist(), _meta(dataset, rows, list(keys.values())), strict=True):
            for name, key in keys.items():
                if key in meta:
                    found[name][place] = number_of(meta[key])
    return found


def numeric_columns(pool: Pool) -> NumericColumns:
    """Return what the numbers of each column of the pool's rows are like."""
    found = NumericColumns()
    for number, dataset in enumerate(pool.datasets):
        rows = pool.locations[pool.locations[:, 0] == number, 1]
        for meta in _meta(dataset, rows, None):
            found.add(meta)
    return found


def _meta(dataset: StoredDataset, rows: np.ndarray, keys: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Yield the other keys of some rows of a dataset; nothing of a row that has none of `keys` (None: all keys)."""
    if not len(rows):
        return
    meta = dataset.table["meta"].take(pa.array(rows))
    columns = {name: pc.struct_field(meta, name).to_pylist() for name in (*NAMED, "extra")}
    # A text that lacks the key, as JSON writes it, is not parsed: most of a large pool may be of other datasets.
    written = None if keys is None else [json.dumps(key, ensure_ascii=ascii) for key in keys for ascii in (True, False)]
    for skill, task, extra in zip(*columns.values(), strict=True):
        is_wanted = extra is not None and (written is None or any(key in extra for key in written))
        named = {key: value for key, value in zip(NAMED, (skill, task), strict=True) if value is not None}
        yield {**named, **(json.loads(extra) if is_wanted else {})}
