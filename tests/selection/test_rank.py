"""`rank_in_cluster` gives the rank of every sample, selected or not: checked against what `select` chose."""

from __future__ import annotations

import numpy as np
import pytest

from adaptinf.errors import DataError
from adaptinf.selection import rank_in_cluster, select
from tests.helpers.toy_scores import names, toy_scores

WAYS = (
    {},
    {"budgets": "proportional"},
    {"sampling": "top"},
    {"choose": "rank_average", "sampling": "middle"},
    {"choose": "random"},
    {"budgets": "density"},
)


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("budget", [12, 55])
def test_rank_bin_and_budget_agree_with_what_was_chosen(options, budget):
    rng = np.random.default_rng(1)
    ids, labels = names(60), rng.integers(-1, 4, 60)
    scores = toy_scores(60, missing=0.05)
    for score in scores.values():
        score[:6] = np.nan  # without any score, in clusters all the same
    inputs = {"centers": rng.standard_normal((4, 3)), "distances": rng.random(60)}
    chosen = select(scores, labels, ids, budget, seed=5, **inputs, **options)
    rows = {id: row for row, id in enumerate(chosen.ids)}
    bins = list(zip(chosen.table["cluster"], chosen.table["bin"], strict=True))
    budgets = dict(zip(chosen.clusters["cluster"], chosen.clusters["budget"], strict=True))
    for id, label in zip(ids, labels, strict=True):
        found = rank_in_cluster(id, scores, labels, ids, budget, seed=5, **inputs, **options)
        if label < 0:
            assert found is None
            continue
        assert (found.rank < found.budget) == (id in rows)
        assert found.budget <= min(found.size, budgets[label])
        if id in rows:
            row = {name: column[rows[id]] for name, column in chosen.table.items()}
            assert (found.scorer, found.bin) == (row["scorer"], row["bin"])
            np.testing.assert_equal(found.score, row["score"])
            is_scored = any(np.isfinite(score[ids.index(id)]) for score in scores.values())
            assert not is_scored or found.rank == row["rank"]
        if found.bin >= 0:
            assert found.bin_budget == bins.count((label, found.bin)) <= found.bin_size


def test_other_methods_have_no_such_rank_and_unknown_ids_are_refused():
    ids = names(6)
    assert rank_in_cluster(ids[0], toy_scores(6), [0] * 6, ids, 3, method="random_replay") is None
    with pytest.raises(DataError, match="'toy/9' is not among the 6 ids"):
        rank_in_cluster("toy/9", toy_scores(6), [0] * 6, ids, 3)
