"""The rows of several datasets in the order of their ids, as Arrow columns: ids of millions of rows are sorted rarely.

Shapes: N rows of all datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.pool.stored import StoredDataset
from adaptinf.storage import tables


class Ordered(NamedTuple):
    """Some rows of datasets, ids ascending."""

    ids: pa.ChunkedArray
    """N ids."""
    numbers: np.ndarray
    """N int64: position of the dataset among those given."""
    rows: np.ndarray
    """N int64: row in that dataset."""
    skills: np.ndarray
    """N skills, empty where the data name none; equal ones are one object."""


def in_id_order(
    datasets: Sequence[StoredDataset], is_wanted: Callable[[pa.ChunkedArray], pa.ChunkedArray | None]
) -> Ordered:
    """Return the rows of datasets in id order, without those that are not wanted.

    Args:
        datasets: the datasets.
        is_wanted: ids -> one bool each; None: all of them.
    """
    # An id begins with the name of its dataset, and most files have their ids in order: then nothing is left to sort.
    turn = sorted(range(len(datasets)), key=lambda number: f"{datasets[number].name}/".encode())
    lengths = [datasets[number].table.num_rows for number in turn]
    ids = joined(datasets[number].table["id"] for number in turn)
    numbers = np.repeat(np.array(turn, dtype=np.int64), lengths)
    rows = np.concatenate([np.arange(length, dtype=np.int64) for length in [0, *lengths]])
    skills = _encoded(datasets[number].skills for number in turn)

    wanted = is_wanted(ids)
    if wanted is not None:
        ids, mask = ids.filter(wanted), wanted.to_numpy()
        numbers, rows, skills = numbers[mask], rows[mask], skills[mask]
    if len(ids) > 1 and not pc.all(pc.less(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py():
        # Long offsets, as the texts of all rows may have more than 2 GB together.
        whole = ids.cast(pa.large_string()).combine_chunks()
        order = pc.sort_indices(whole)
        ids, place = pa.chunked_array([whole.take(order)]), order.to_numpy()
        numbers, rows, skills = numbers[place], rows[place], skills[place]
    return Ordered(ids, numbers, rows, skills)


def joined(columns: Iterable[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return text columns one after another, without a copy."""
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], type=pa.string())


def texts(column: pa.ChunkedArray) -> np.ndarray:
    """Return different texts as an object array of `str`."""
    found: np.ndarray = column.to_numpy() if len(column) else tables.text_array([])
    return found


def _encoded(columns: Iterable[pa.ChunkedArray]) -> np.ndarray:
    """Return texts of which many are equal as an object array in which equal ones are one object."""
    encoded = joined(columns).cast(pa.large_string()).combine_chunks().dictionary_encode()
    found: np.ndarray = tables.text_array(encoded.dictionary.to_pylist())[encoded.indices.to_numpy()]
    return found
