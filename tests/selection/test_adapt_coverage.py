"""Coverage-centric sampling inside a cluster."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays.budgets import allocate
from adaptinf.arrays.seeded import derive_seed, hash_ids, seeded_keys
from adaptinf.selection.coverage import NUM_BINS, cover

score_lists = st.lists(
    st.one_of(st.floats(-100, 100), st.just(float("nan")), st.integers(0, 3).map(float)), max_size=70
)


def hashes(size: int) -> np.ndarray:
    return hash_ids([f"toy/{i}" for i in range(size)])


def test_five_samples_by_hand() -> None:
    # Five finite scores: floor(0.05 * 5) = 0 are cut. Width 10 / 50: bins 0, 0, 25, 49 and 49.
    scores = np.array([0.0, 0.1, 5.0, 9.9, 10.0])
    coverage = cover(scores, hashes(5), seed=3)
    assert coverage.bins.tolist() == [0, 0, 25, 49, 49]

    # Three go first, one of each bin, each the one with the smallest key; then the other two of bins 0 and 49.
    keys = seeded_keys(hashes(5), 3, "draw")
    low, high = int(keys[0] > keys[1]), 3 + int(keys[3] > keys[4])
    assert set(coverage.order[:3].tolist()) == {low, 2, high}
    assert set(coverage.order[3:].tolist()) == {1 - low, 7 - high}


def test_tails_are_cut_and_given_back_nearest_the_cut_first() -> None:
    scores = np.append(np.arange(40.0), [np.nan, np.nan])
    coverage = cover(scores, hashes(42), seed=0)
    assert set(coverage.order[:36].tolist()) == set(range(2, 38))
    assert set(coverage.order[36:38].tolist()) == {1, 38}
    assert set(coverage.order[38:40].tolist()) == {0, 39}
    assert set(coverage.order[40:].tolist()) == {40, 41}
    assert (coverage.bins[[0, 1, 38, 39, 40, 41]] == -1).all() and (coverage.bins[2:38] >= 0).all()


@settings(max_examples=60)
@given(scores=score_lists, seed=st.integers(0, 50))
def test_every_prefix_is_water_filled_over_the_bins(scores: list[float], seed: int) -> None:
    coverage = cover(np.array(scores, dtype=float), hashes(len(scores)), seed=seed)
    assert sorted(coverage.order.tolist()) == list(range(len(scores)))
    sizes = np.bincount(coverage.bins[coverage.bins >= 0], minlength=NUM_BINS)
    for budget in range(0, int(sizes.sum()) + 1, 7):
        drawn = np.bincount(coverage.bins[coverage.order[:budget]], minlength=NUM_BINS)
        assert (drawn == allocate(sizes, budget, seed=derive_seed(seed, "bins"))).all()


@settings(max_examples=40)
@given(scores=score_lists, seed=st.integers(0, 50))
def test_the_order_of_rows_does_not_matter(scores: list[float], seed: int) -> None:
    values, all_hashes = np.array(scores, dtype=float), hashes(len(scores))
    shuffle = np.random.default_rng(seed).permutation(len(scores))
    plain = cover(values, all_hashes, seed=seed)
    shuffled = cover(values[shuffle], all_hashes[shuffle], seed=seed)
    assert (shuffle[shuffled.order] == plain.order).all()
    assert (shuffled.bins == plain.bins[shuffle]).all()


@settings(max_examples=60)
@given(scores=score_lists, seed=st.integers(0, 50))
def test_members_are_ranked_by_score_and_equal_ones_by_a_key_of_their_own(scores: list[float], seed: int) -> None:
    values, cut = np.array(scores, dtype=float), seeded_keys(hashes(len(scores)), seed, "cut")
    finite = sorted(np.flatnonzero(~np.isnan(values)).tolist(), key=lambda i: (values[i], cut[i]))
    num_cut = len(finite) * 5 // 100
    bins = cover(values, hashes(len(scores)), seed=seed).bins
    assert set(np.flatnonzero(bins >= 0).tolist()) == set(finite[num_cut : len(finite) - num_cut])


def test_rare_scores_are_drawn_more_often_than_their_share() -> None:
    scores = np.concatenate([np.linspace(0, 1, 400), np.linspace(9, 10, 40)])
    chosen = scores[cover(scores, hashes(440), seed=0).order[:40]]
    assert (chosen > 5).sum() >= 10  # a random draw would take fewer than 4 of 40


def test_a_constant_score_is_sampled_uniformly() -> None:
    counts = np.zeros(40)
    for seed in range(400):
        counts[cover(np.ones(40), hashes(40), seed=seed).order[:10]] += 1
    assert abs(counts - 100).max() < 4.5 * (400 * 0.25 * 0.75) ** 0.5
