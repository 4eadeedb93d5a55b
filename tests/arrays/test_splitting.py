"""Large groups in parts: bounded, complete, the same for any tile size; similar rows stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays import splitting, threads, tiles
from adaptinf.arrays.splitting import split


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "PART_ROWS", 40)


@settings(max_examples=30, deadline=None)
@given(num_rows=st.integers(0, 400), distinct=st.integers(1, 400), seed=st.integers(0, 99))
def test_every_row_is_in_one_part_and_no_part_is_too_large(num_rows: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.standard_normal((distinct, 3))[rng.integers(0, distinct, num_rows)]
    parts = split(source, rng.permutation(num_rows))
    assert sorted(np.concatenate([np.zeros(0, int), *parts]).tolist()) == list(range(num_rows))
    assert all(len(part) <= 40 and (np.diff(part) > 0).all() for part in parts)


def test_a_group_that_is_small_enough_is_one_part() -> None:
    (part,) = split(np.random.default_rng(0).standard_normal((40, 3)), np.arange(40))
    assert part.tolist() == list(range(40))


def test_near_duplicates_stay_together() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 8))
    source = np.concatenate([rows, rows + 0.01 * rng.standard_normal((200, 8))]).astype(np.float16)
    order, part_of = rng.permutation(400), np.empty(400, int)
    for number, part in enumerate(split(source, order)):
        part_of[order[part]] = number
    assert part_of.max() >= 400 // 40 and (part_of[:200] == part_of[200:]).mean() > 0.95


def test_thousands_of_copies_are_cut_in_their_order() -> None:
    parts = split(np.ones((100, 3)), np.arange(100))
    assert [part.tolist() for part in parts] == [list(range(34)), list(range(34, 67)), list(range(67, 100))]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_neither_blocks_nor_threads_nor_the_place_in_the_file_change_a_part(
    num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rows = np.random.default_rng(0).standard_normal((500, 6)), np.random.default_rng(1).permutation(500)
    expected = [rows[part].tolist() for part in split(source, rows)]
    monkeypatch.setattr(tiles, "BLOCK_BYTES", 900)
    monkeypatch.setattr(tiles, "HELD_BYTES", 100)
    monkeypatch.setattr(threads, "num_blas_threads", lambda: num_threads)
    moved = np.random.default_rng(2).permutation(500)
    found = [moved[np.argsort(moved)[rows[part]]].tolist() for part in split(source[moved], np.argsort(moved)[rows])]
    assert found == expected
