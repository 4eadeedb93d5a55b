"""What the records of a run look like in a notebook: one line, a data frame, and HTML without whole arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptinf.clustering import cluster
from adaptinf.data import Clusters, Evaluation, Features, Rejected, Sample, SavedPruning, Selection, Trained
from adaptinf.pruning import prune
from adaptinf.selection import select
from adaptinf.storage import tables
from tests.helpers.conversations import conversation, say
from tests.helpers.run_folders import run_folder

NUM_ROWS = 1234


@pytest.fixture(scope="module")
def features() -> Features:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(NUM_ROWS, 16)).astype(np.float16)
    return Features(
        ids=tables.text_array([f"a/{row:04d}" for row in range(NUM_ROWS)]),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        embeddings=vectors,
        scores={"loss": rng.normal(size=NUM_ROWS), "grand": rng.normal(size=NUM_ROWS)},
        info={},
    )


@pytest.fixture(scope="module")
def clusters(features) -> Clusters:
    return cluster(features.vectors, ids=features.ids, clusters=3)


@pytest.fixture(scope="module")
def selection(features, clusters) -> Selection:
    return select(features.scores, clusters.labels, features.ids, 40, method="cluster_balanced")


def test_each_record_says_its_counts_in_one_line(features, clusters, selection):
    assert repr(features) == "Features(1,234 samples: vectors of 16 dimensions, scores loss, grand)"
    sizes = np.bincount(clusters.labels)
    assert repr(clusters) == f"Clusters(1,234 samples: 3 clusters of {sizes.min():,} to {sizes.max():,} samples)"
    assert repr(selection) == "Selection(40 samples; 3 clusters of 1,234 samples)"
    assert repr(select(None, None, ["a", "b"], 1, method="random_replay")) == "Selection(1 sample; no clusters)"
    pruning = prune(features.embeddings, clusters.labels, features.ids, 1200)
    assert repr(pruning) == "Pruning(1,200 kept, 34 removed)"
    saved = SavedPruning(table=pruning.table(features.ids, clusters.labels), num_kept=1200)
    assert repr(saved) == "SavedPruning(1,200 kept, 34 removed)"
    trained = Trained(log=[], info={"samples": 40, "optimizer_steps": 3, "final_loss": 1.23456})
    assert repr(trained) == "Trained(40 samples, 3 optimiser steps, final loss 1.235)"
    assert repr(Trained()) == "Trained(0 samples, 0 optimiser steps)"


def test_clusters_say_which_samples_have_none():
    labels = np.array([0, 0, -1])
    found = Clusters(labels=labels, centers=np.zeros((1, 2)), distances=np.zeros(3))
    assert repr(found) == "Clusters(3 samples: 1 cluster of 2 to 2 samples, 1 without a vector)"
    assert list(found.to_pandas().columns) == ["cluster", "distance"]


def test_tables_have_one_row_per_sample(features, clusters, selection):
    frame = features.to_pandas()
    assert list(frame.columns) == ["id", "loss", "grand"] and len(frame) == NUM_ROWS
    np.testing.assert_array_equal(frame["loss"], features.scores["loss"])
    assert clusters.to_pandas().groupby("cluster").size().tolist() == np.bincount(clusters.labels).tolist()
    assert selection.to_pandas()["id"].tolist() == selection.ids.tolist()
    assert selection.clusters_to_pandas()["budget"].sum() == 40
    pruning = prune(features.embeddings, clusters.labels, features.ids, 1200)
    assert pruning.to_pandas()["row"].tolist() == pruning.removed.tolist()
    log = [{"loss": 2.0, "step": 1}, {"loss": 1.0, "step": 2, "grad_norm": 0.5}]
    assert Trained(log=log).to_pandas()["loss"].tolist() == [2.0, 1.0]


def test_html_shows_the_line_and_a_few_rows_of_a_long_table(features, clusters, selection):
    for record in (features, clusters, selection):
        shown = record._repr_html_()
        assert shown.startswith(f"<p>{repr(record)}") and shown.count("<tr") < 40
    assert "1234 rows" in features._repr_html_() and "a/1233" in features._repr_html_()
    assert selection._repr_html_().count("<table") == 2
    alone = select(None, None, ["a", "b"], 1, method="random_replay")
    assert alone._repr_html_().count("<table") == 1, "no table of clusters where there are none"


def test_a_sample_shows_its_turns_and_images():
    turns = (say("user", "<image>", "Is 1 < 2?"), say("assistant", "yes"))
    sample = conversation("one", *turns, images=(Path("dir/1.png"),))
    assert repr(sample) == f"Sample({sample.id!r}: 2 turns, 1 image)"
    assert sample.turns == (("user", "<image> Is 1 < 2?"), ("assistant", "yes"))
    shown = sample._repr_html_()
    assert "Is 1 &lt; 2?" in shown and "dir/1.png" in shown and "1 < 2" not in shown
    assert repr(Sample(id="a/1", source="a", messages=(say("user", "x"),))) == "Sample('a/1': 1 turn, 0 images)"
    assert "image is missing" in repr(Rejected(file="a.json", row=3, reason="image is missing"))


def test_a_run_its_pool_and_its_evaluations(tmp_path):
    run = run_folder(tmp_path / "mine", "adapt", [[0.1, 0.2], [0.5, 0.7], [0.6, 0.8]])
    assert repr(run) == f"Run({str(tmp_path / 'mine')!r}: adapt, 2 of 2 steps finished)"
    pool = run.pool(1)
    assert repr(pool) == "Pool(4 samples of 2 datasets)" and repr(pool.view(pool.ids[:1])) == "PoolView(1 sample)"
    frame = pool.to_pandas()
    assert frame["source"].tolist() == ["d0", "d0", "d1", "d1"] and frame["skill"].tolist() == ["s0", "s1"] * 2
    assert "d1" in pool._repr_html_()
    last, base = run.load(1, Evaluation), run.load(-1, Evaluation)
    assert repr(last) == "Evaluation(2 skills after 2 steps, average accuracy 70.0 %)"
    assert repr(base) == "Evaluation(2 skills of the base model, average accuracy 15.0 %)"
    assert last.to_pandas().index.tolist() == ["base", 0, 1] and last.to_pandas()["s1"].tolist() == [0.2, 0.7, 0.8]
    assert "0.7" in last._repr_html_()


@pytest.mark.heavy
def test_a_learner_names_its_model_and_prints_no_weights(learner):
    assert repr(learner).startswith("Learner('base': ") and "float32 on cpu" in repr(learner)
    assert len(repr(learner)) < 200 and "images and text" in repr(learner)


def test_pandas_is_imported_by_nobody_who_looks_at_no_table():
    code = "import sys, adaptinf.data, adaptinf.pool, adaptinf.history.records, adaptinf.results.table; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print('pandas' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
