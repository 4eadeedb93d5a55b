"""Rows of several datasets in the order of their ids, whatever their names and however their files are ordered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.pool import Pool
from adaptinf.pool.ordering import in_id_order
from adaptinf.pool.stored import StoredDataset
from adaptinf.storage import tables

NAMES = st.text("ab-.é", min_size=1, max_size=3)
OWN = st.lists(st.text("ab/-é🙂", min_size=1, max_size=3), max_size=6, unique=True)


def in_memory(name: str, own: list[str]) -> StoredDataset:
    """Return a dataset whose skills are the last characters of its ids."""
    dataset = StoredDataset(0, name, Path(name))
    ids = pa.chunked_array([[f"{name}/{id}"] for id in own], type=pa.string())
    dataset.__dict__["table"] = pa.table({"id": ids})
    dataset.__dict__["skills"] = pa.chunked_array([[id[-1]] for id in own], type=pa.string())
    return dataset


@settings(max_examples=100, deadline=None)
@given(content=st.dictionaries(NAMES, OWN, max_size=4), left_out=st.sets(st.integers(0, 24)))
def test_rows_come_in_the_order_of_their_ids(content: dict[str, list[str]], left_out: set[int]) -> None:
    datasets = [in_memory(name, own) for name, own in content.items()]
    everything = [(f"{name}/{id}", number, row, id[-1]) for number, (name, own) in enumerate(content.items())
                  for row, id in enumerate(own)]  # fmt: skip
    unwanted = {everything[place][0] for place in left_out if place < len(everything)}

    def is_wanted(ids: pa.ChunkedArray) -> pa.ChunkedArray | None:
        keep = [id not in unwanted for id in ids.to_pylist()]
        return pa.chunked_array([keep], type=pa.bool_()) if unwanted else None

    found = in_id_order(datasets, is_wanted)
    # UTF-8 has the order of the characters.
    expected = sorted(one for one in everything if one[0] not in unwanted)
    columns = (found.ids.to_pylist(), found.numbers.tolist(), found.rows.tolist(), found.skills.tolist())
    assert list(zip(*columns, strict=True)) == expected


@pytest.mark.parametrize("ids", [[], ["a/1"], ["a/1", "a/2", "b/1"]])
def test_ids_are_found_by_bisection(ids: list[str]) -> None:
    count = len(ids)
    pool = Pool(
        ids=tables.text_array(ids), arrived=np.zeros(count, int), skills=tables.text_array([""] * count),
        sources=tables.text_array(["a"] * count), datasets=(), withdrawn=(), restored=frozenset(["a/2", "gone/1"]),
        locations=np.zeros((count, 2), int),
    )  # fmt: skip
    wanted = tables.text_array(["z/9", *ids[::-1], ""])
    assert pool.rows(wanted).tolist() == [-1, *range(count)[::-1], -1]
    assert pool.rows(tables.text_array(list(ids))).tolist() == list(range(count))
    assert pool.stays.tolist() == [id == "a/2" for id in ids]
