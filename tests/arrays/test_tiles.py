"""Cosines that are exact, so that no order of summation can change them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays import tiles
from adaptinf.arrays.tiles import TIE, UnitRows, nearest, tied, unit_rows


def units_of(rows: np.ndarray) -> UnitRows:
    return UnitRows(rows, np.arange(len(rows)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 700), dtype=st.sampled_from(["f2", "f4", "f8"]))
def test_a_cosine_is_the_same_in_any_order_of_summation(seed: int, dim: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.standard_normal((5, dim)) * 10.0 ** rng.integers(-2, 3, (5, 1))).astype(dtype)
    units = units_of(rows)[:]
    cosines = units @ units.T
    shuffle = rng.permutation(dim)
    np.testing.assert_array_equal(cosines, units[:, shuffle] @ units[:, shuffle].T)
    np.testing.assert_array_equal(cosines, (units[:, None] * units[None])[:, :, shuffle].cumsum(axis=2)[:, :, -1])
    exact = sum((Fraction(a) * Fraction(b) for a, b in zip(units[0], units[1], strict=True)), Fraction(0))
    assert Fraction(cosines[0, 1]) == exact


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 3000))
def test_it_is_the_true_cosine_and_duplicates_tie_whatever_their_length(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    row, other = rng.standard_normal((2, dim))
    units = units_of(np.stack([row, 3 * row, other]))[:]
    true = row @ other / np.sqrt(row @ row * (other @ other))
    assert units[0] @ units[2] == pytest.approx(true, abs=1e-7)
    assert tied(units[:2] @ units[:2].T).tolist() == [[1, 1], [1, 1]]


def test_ties_are_whole_steps_halves_upwards() -> None:
    assert tied(np.array([0.5 * TIE, 0.49 * TIE, -0.5 * TIE, -np.inf])).tolist() == [TIE, 0, 0, -np.inf]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_without_a_direction_become_zero_and_leave_the_others_alone(dtype: type) -> None:
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [1, -np.inf], [0.1, 0]], dtype=dtype)
    units, usable = unit_rows(rows, np.float64)
    assert usable.tolist() == [True, False, False, False, False, True]
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0], [0, 0], [0, 0], [0, 0], [1, 0]], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_smallest_and_largest_numbers_of_a_type_have_directions(dtype: str) -> None:
    limits = np.finfo(dtype)
    rows = np.array([[limits.max, limits.max], [limits.smallest_subnormal, 0]], dtype=dtype)
    np.testing.assert_allclose(unit_rows(rows, np.float64)[0], [[0.5**0.5, 0.5**0.5], [1, 0]], rtol=1e-12)


def test_the_nearest_is_the_first_of_equals_whatever_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.standard_normal((40, 3)), rng.standard_normal((60, 3))
    columns[30:] = columns[:30]
    cosines = units_of(rows)[:] @ units_of(columns)[:].T
    for size in (7, 1000):
        monkeypatch.setattr(tiles, "TILE_ROWS", size)
        monkeypatch.setattr(tiles, "TILE_COLUMNS", size)
        found = nearest(units_of(rows), units_of(columns))
        assert found.position.tolist() == cosines.argmax(axis=1).tolist() and found.position.max() < 30
        assert found.similarity.tolist() == cosines.max(axis=1).tolist()
