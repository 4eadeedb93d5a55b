"""Ids settled for all rows at once are those that one row after another gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.formats.ids import Claims, Hashes, numbered


def settled(own: list[str], *, parts: int = 1) -> list[str]:
    """Return the ids of all rows, settled at once."""
    hashes = Hashes()
    for part in np.array_split(np.arange(len(own)), parts):
        hashes.add([own[row] for row in part])
    repeats = hashes.repeats(lambda rows: [own[row] for row in rows])
    return [repeats.get(row, id) for row, id in enumerate(own)]


def one_by_one(own: list[str]) -> list[str]:
    claims = Claims()
    return [claims.claim(id) for id in own]


@given(own=st.lists(st.sampled_from("a a~2 a~3 a~2~2 b b~2 c 000001".split()), max_size=12), parts=st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_ids_of_all_rows_at_once_are_those_of_one_row_after_another(own: list[str], parts: int) -> None:
    found = settled(own, parts=parts)
    assert found == one_by_one(own)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("own", [["a", "a~2", "a"], ["a", "a", "a~2"], ["a~2", "a", "a"], ["a"] * 4 + ["a~3"]])
def test_a_copy_takes_no_id_that_another_row_has(own: list[str]) -> None:
    assert settled(own) == one_by_one(own)


def test_ids_with_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adaptinf.formats.ids.xxhash.xxh3_64_intdigest", lambda content: len(content) % 2)
    own: list[Any] = ["a", "bb", "c", "a", "dd", "a~2", "bb"]
    assert settled(own) == one_by_one(own)


def test_only_rows_that_share_an_id_are_looked_at() -> None:
    hashes = Hashes()
    hashes.add([numbered(number) for number in range(1000)] + ["000007"])
    seen: list[int] = []

    def ids_at(rows: np.ndarray) -> list[str]:
        seen.extend(rows.tolist())
        return [numbered(row if row < 1000 else 7) for row in rows]

    assert hashes.repeats(ids_at) == {1000: "000007~2"}
    assert seen == [7, 1000]
