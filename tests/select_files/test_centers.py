"""Centers of clusters that somebody else has found."""

from __future__ import annotations

import numpy as np
import pytest

from adaptinf.arrays import tiles
from adaptinf.errors import DataError
from adaptinf.select_files.centers import centers_of


def names(num_rows: int) -> np.ndarray:
    return np.array([f"toy/{i:03d}" for i in range(num_rows)], dtype=object)


def test_centers_are_means_of_unit_vectors_and_distances_are_to_the_own_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "BLOCK_BYTES", 400)  # many blocks
    rng = np.random.default_rng(0)
    vectors, labels = rng.standard_normal((60, 5)), rng.choice([0, 1, 3], 60)
    vectors[4], vectors[5], labels[6] = np.nan, 0.0, -1
    found = centers_of(vectors, labels, names(60))

    with np.errstate(invalid="ignore"):
        units = vectors / np.sqrt((vectors**2).sum(axis=1))[:, None]
    counted = np.isfinite(units).all(axis=1) & (labels >= 0)
    expected = np.zeros((4, 5))
    for k in (0, 1, 3):
        expected[k] = units[counted & (labels == k)].mean(axis=0)
    np.testing.assert_allclose(found["centers"], expected)
    assert np.isnan(found["distances"][[4, 5, 6]]).all()
    rows = np.flatnonzero(counted)
    lengths = [np.sqrt(((units[row] - expected[labels[row]]) ** 2).sum()) for row in rows]
    np.testing.assert_allclose(found["distances"][rows], lengths)


def test_the_order_of_rows_does_not_matter_to_the_last_digit() -> None:
    rng = np.random.default_rng(1)
    vectors, labels, shuffle = rng.standard_normal((200, 7)), rng.integers(0, 3, 200), rng.permutation(200)
    plain = centers_of(vectors, labels, names(200))
    mixed = centers_of(vectors[shuffle], labels[shuffle], names(200)[shuffle])
    assert (plain["centers"] == mixed["centers"]).all() and (plain["distances"][shuffle] == mixed["distances"]).all()


def test_labels_that_are_no_numbering_are_refused() -> None:
    with pytest.raises(DataError, match="there is a cluster 900 for 3 samples; number clusters 0, 1, 2"):
        centers_of(np.ones((3, 2)), np.array([0, 900, 1]), names(3))
    assert centers_of(np.ones((0, 2)), np.zeros(0, int), names(0))["centers"].shape == (0, 2)
