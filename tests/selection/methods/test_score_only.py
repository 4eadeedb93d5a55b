"""One score over the whole pool: top, middle and coverage, for the paper's five scorers and for one's own."""

from __future__ import annotations

import numpy as np
import pytest

from adaptinf.arrays.budgets import allocate
from adaptinf.errors import ConfigError
from adaptinf.registry import scope, selector
from adaptinf.selection import select
from adaptinf.selection.methods.score_only import SCORERS, compare_scorer

NUM_ROWS = 83
IDS = [f"toy/{i:03d}" for i in range(NUM_ROWS)]


def toy_scores(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = {name: rng.standard_normal(NUM_ROWS) for name in SCORERS}
    for score in scores.values():
        score[rng.random(NUM_ROWS) < 0.1] = np.nan
    return scores


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("budget", [0, 1, 20, 21, 60])
def test_top_is_sorting_and_middle_a_window_of_it(scorer: str, budget: int) -> None:
    scores = toy_scores()
    finite = [row for row in np.argsort(scores[scorer]) if np.isfinite(scores[scorer][row])]
    top = select(scores, None, IDS, budget, method=f"{scorer}_top")
    assert set(top.indices) == set(finite[len(finite) - budget :])
    middle = select(scores, None, IDS, budget, method=f"{scorer}_middle")
    # As many below as above, one more on either side where the two numbers are not both odd or both even.
    below = (len(finite) - budget) / 2
    windows = [set(finite[int(start) :][:budget]) for start in (np.floor(below), np.ceil(below))]
    assert set(middle.indices) in windows
    assert set(middle.table["scorer"]) <= {scorer} and (middle.table["cluster"] == -1).all()


@pytest.mark.parametrize("scorer", SCORERS)
def test_ccs_fills_fifty_bins_between_the_tails_like_water(scorer: str) -> None:
    scores = toy_scores(1)
    values = np.sort(scores[scorer][np.isfinite(scores[scorer])])
    cut = len(values) * 5 // 100
    between = values[cut : len(values) - cut]
    edges = np.linspace(between[0], between[-1], 51)
    sizes = np.histogram(between, edges)[0]
    chosen = select(scores, None, IDS, 30, method=f"{scorer}_ccs")
    taken = np.histogram(scores[scorer][chosen.indices], edges)[0]
    assert taken.sum() == 30 and (taken <= sizes).all()
    assert sorted(taken) == sorted(allocate(sizes, 30))
    assert all(share == size or share >= taken.max() - 1 for share, size in zip(taken, sizes, strict=True))


def test_clusters_play_no_part() -> None:
    scores = toy_scores()
    with_labels = select(scores, np.arange(NUM_ROWS) % 7, IDS, 30, method="el2n_ccs")
    assert with_labels.ids.tolist() == select(scores, None, IDS, 30, method="el2n_ccs").ids.tolist()


def test_a_missing_score_is_named() -> None:
    with pytest.raises(ConfigError, match="grand_top: no scores called grand; name some of: el2n"):
        select({"el2n": np.ones(NUM_ROWS)}, None, IDS, 5, method="grand_top")


def test_a_scorer_of_ones_own_gets_its_three_rows() -> None:
    scores = {"loudness": np.arange(83.0)}
    with scope():
        compare_scorer("loudness")
        compare_scorer("loudness")
        assert {"loudness_top", "loudness_middle", "loudness_ccs"} <= set(selector.names())
        assert select(scores, None, IDS, 3, method="loudness_top").indices.tolist() == [80, 81, 82]
