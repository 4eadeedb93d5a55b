"""Vectors as points of a plane, and the neighbours of each."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from adaptinf.arrays import plane
from adaptinf.arrays.neighbours import NUM_NEIGHBOURS, neighbours
from adaptinf.arrays.plane import on_plane


def two_groups(num_rows: int, dims: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    vectors = 0.1 * rng.normal(size=(num_rows, dims))
    vectors[: num_rows // 2, 0] += 1.0
    vectors[num_rows // 2 :, 1] += 1.0
    return vectors.astype(np.float16)


def is_apart(places: np.ndarray) -> bool:
    """Tell whether the centers of both halves are further apart than three spreads of a half."""
    halves = np.array_split(places, 2)
    distance = float(np.linalg.norm(halves[0].mean(axis=0) - halves[1].mean(axis=0)))
    return distance > 3 * max(float(half.std()) for half in halves) / 2


def test_groups_of_vectors_are_apart_on_the_plane_and_a_seed_gives_the_same_places():
    vectors = two_groups(200)
    found = on_plane(vectors, seed=3)
    assert found.method == "pca" and "200 vectors are few" in found.why
    assert is_apart(found.places)
    np.testing.assert_array_equal(found.places, on_plane(vectors, seed=3).places)


def test_a_sample_without_a_vector_has_no_place():
    vectors = two_groups(20)
    vectors[4] = 0
    vectors[7, 2] = np.nan
    places = on_plane(vectors, seed=0).places
    assert np.flatnonzero(np.isnan(places).any(axis=1)).tolist() == [4, 7]


@pytest.mark.parametrize("num_rows", [0, 1])
def test_fewer_than_two_vectors_have_a_plane_too(num_rows):
    found = on_plane(np.ones((num_rows, 4), np.float16), seed=0)
    assert found.places.shape == (num_rows, 2) and "fewer than two" in found.why


def test_vectors_of_one_dimension_lie_on_a_line():
    found = on_plane(np.arange(1, 9, dtype=np.float16)[:, None], seed=0)
    assert (found.places[:, 1] == 0).all() and len(np.unique(found.places[:, 0])) == 8


def test_without_umap_or_with_too_many_rows_principal_components_are_shown_and_it_is_said(monkeypatch):
    vectors = two_groups(60)
    monkeypatch.setattr(plane, "FEW_ROWS", 10)
    monkeypatch.setitem(sys.modules, "umap", None)
    assert "UMAP cannot be loaded" in on_plane(vectors, seed=0).why
    monkeypatch.setattr(plane, "MANY_ROWS", 50)
    assert on_plane(vectors, seed=0).why == "as 60 vectors are too many for UMAP"


def test_equal_vectors_lie_on_one_point():
    places = on_plane(np.ones((12, 6), np.float16), seed=0).places
    assert np.isfinite(places).all() and np.ptp(places) < 1e-5


@pytest.mark.slow
def test_umap_places_groups_apart_and_a_seed_gives_the_same_places():
    pytest.importorskip("umap")
    vectors = two_groups(plane.FEW_ROWS)
    found = on_plane(vectors, seed=3)
    assert found.method == "umap" and is_apart(found.places)
    np.testing.assert_array_equal(found.places, on_plane(vectors, seed=3).places)


def test_neighbours_are_the_most_similar_members_of_the_own_cluster():
    rng = np.random.default_rng(1)
    vectors, labels = rng.normal(size=(60, 8)).astype(np.float16), rng.integers(-1, 4, 60)
    vectors[5] = 0
    found = neighbours(vectors, labels)
    units = vectors.astype(np.float64) / np.maximum(np.linalg.norm(vectors.astype(np.float64), axis=1), 1e-9)[:, None]
    for row in range(60):
        others = [at for at in range(60) if at not in (row, 5) and labels[at] == labels[row]]
        wanted = sorted(others, key=lambda at: -float(units[row] @ units[at]))[:NUM_NEIGHBOURS]
        if labels[row] < 0 or row == 5:
            wanted = []
        assert [at for at in found[row].tolist() if at >= 0] == wanted


def test_of_equal_vectors_the_earlier_rows_come_first():
    found = neighbours(np.ones((4, 3), np.float32), np.zeros(4, np.int64))
    assert found[:, :3].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert (found[:, 3:] == -1).all()
