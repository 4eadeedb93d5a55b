"""The balanced count-sketch: linear, unbiased, as sharp as a dense random projection, the same bits every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptinf.extraction.vectors.sketch import make_sketch

CPU = torch.device("cpu")


def sketch(size, dim, seed=0, name="layer"):
    return make_sketch(size, dim, seed=seed, name=name, device=CPU)


def matrix(size, dim, **options):
    """Return the sketch as the size x dim matrix that it multiplies with."""
    return sketch(size, dim, **options)(torch.eye(size))


def gaussian(rows, size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32))


@pytest.mark.parametrize(("size", "dim"), [(64, 8), (61, 8), (8, 8), (5, 8), (1, 8)])
def test_every_element_goes_to_one_column_with_one_sign_and_columns_share_alike(size, dim):
    found = matrix(size, dim)
    assert found.shape == (size, dim)
    assert torch.equal(found.abs().sum(1), torch.ones(size))
    assert set(found.unique().tolist()) <= {-1.0, 0.0, 1.0}
    counts = found.abs().sum(0)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("size", "dim"), [(100, 16), (10, 16)])
def test_it_is_linear(size, dim):
    first, second = gaussian(3, size, seed=1), gaussian(3, size, seed=2)
    own = sketch(size, dim)
    torch.testing.assert_close(own(2.0 * first - second), 2.0 * own(first) - own(second), rtol=1e-5, atol=1e-5)
    assert torch.equal(own(torch.zeros(2, size)), torch.zeros(2, dim))


@pytest.mark.parametrize(("size", "dim"), [(200, 16), (12, 16)])
def test_inner_products_are_unbiased_over_seeds(size, dim):
    first, second = gaussian(1, size, seed=1), gaussian(1, size, seed=2) + 0.5 * gaussian(1, size, seed=1)
    exact = float((first * second).sum())
    maps = [sketch(size, dim, seed=seed) for seed in range(600)]
    found = np.array([float((own(first) * own(second)).sum()) for own in maps])
    error = found.std(ddof=1) / np.sqrt(len(found))
    # Five standard errors: one false alarm in a million, and the seeds are fixed anyway.
    assert abs(found.mean() - exact) <= 5 * error + 1e-5


def test_cosines_are_as_sharp_as_a_dense_projection_promises():
    dim, rows, size = 256, 60, 20_000
    vectors = gaussian(rows, size) + 0.7 * gaussian(1, size, seed=9)
    exact = torch.nn.functional.normalize(vectors)
    found = torch.nn.functional.normalize(sketch(size, dim)(vectors))
    upper = np.triu_indices(rows, 1)
    error = ((found @ found.T) - (exact @ exact.T)).numpy()[upper]
    assert np.sqrt((error**2).mean()) <= 1.2 / np.sqrt(dim)


def test_sketches_of_parts_add_up_to_a_sketch_of_the_whole():
    """Parts have maps of their own, so inner products of the sum are those of the whole, on average."""
    first, second = gaussian(1, 300, seed=1), gaussian(1, 300, seed=2) + gaussian(1, 300, seed=1)
    found = []
    for seed in range(400):
        parts = [make_sketch(150, 32, seed=seed, name=name, device=CPU) for name in ("a", "b")]
        both = [parts[0](rows[:, :150]) + parts[1](rows[:, 150:]) for rows in (first, second)]
        found.append(float((both[0] * both[1]).sum()))
    exact = float((first * second).sum())
    assert abs(np.mean(found) - exact) <= 5 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_the_same_seed_and_name_give_the_same_bits_and_another_does_not():
    rows = gaussian(4, 500)
    assert torch.equal(sketch(500, 64, seed=3)(rows), sketch(500, 64, seed=3)(rows))
    assert not torch.equal(sketch(500, 64, seed=3)(rows), sketch(500, 64, seed=4)(rows))
    assert not torch.equal(sketch(500, 64)(rows), sketch(500, 64, name="other")(rows))


def test_the_map_is_pinned_so_that_vectors_of_two_releases_compare():
    """Only numpy's generator and our seeds decide; a changed map is a breaking change."""
    columns = (matrix(6, 4, seed=1) * torch.arange(1, 5)).sum(1).int().tolist()
    assert columns == [1, -3, -4, 2, -2, -1]
