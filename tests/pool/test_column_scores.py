"""Scores of the data: read from the pool by id, as its rows had them."""

from __future__ import annotations

import numpy as np
import pytest

from adaptinf.data import Sample
from adaptinf.pool import Pool, add_dataset
from adaptinf.pool.column_scores import column_scores, numeric_columns
from adaptinf.storage import store
from tests.helpers.conversations import say


@pytest.fixture
def pool(tmp_path) -> Pool:
    datasets = {
        "b": [{"rating": 5, "Größe": 1}, {"rating": "2.5"}, {}],
        "a": [{"ratings": [1, 2], "skill": "7", "other": {"rating": 1}}, {"rating": None, "task": "sums"}],
    }
    for step, (name, metas) in enumerate(datasets.items()):
        rows = [
            Sample(id=f"{name}/{n}", source=name, messages=(say("user", "?"), say("assistant", "!")), meta=meta)
            for n, meta in enumerate(metas)
        ]
        folder = tmp_path / "pool" / f"{step:02d}-{name}"
        add_dataset(
            tmp_path / "pool", step, name, rows, images="reference", on_bad_row="stop", part=store.begin(folder),
            origin={},
        )  # fmt: skip
        store.finish(folder)
    return Pool.open(tmp_path / "pool", tmp_path / "steps")


def test_each_sample_gets_the_number_of_its_own_row(pool):
    found = column_scores(pool, ["column:rating", "column:ratings", "column:skill", "column:Größe", "column:none"])
    assert pool.ids.tolist() == ["a/0", "a/1", "b/0", "b/1", "b/2"]
    nan = np.nan
    wanted = {
        "column:rating": [nan, nan, 5.0, 2.5, nan],
        "column:ratings": [1.5, nan, nan, nan, nan],
        "column:skill": [7.0, nan, nan, nan, nan],
        "column:Größe": [nan, nan, 1.0, nan, nan],
        "column:none": [nan] * 5,
    }
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)


def test_without_names_nothing_is_read(pool):
    assert column_scores(pool, []) == {}


def test_the_columns_of_a_pool_are_counted_over_all_datasets(pool):
    counts = numeric_columns(pool)
    assert counts.num_rows == 5
    assert counts.qualifying() == ()
