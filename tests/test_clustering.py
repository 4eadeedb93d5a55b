"""Step 1: k-means that finds the true number of blobs and does not depend on the order of rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf import clustering
from adaptinf.arrays import threads, tiles
from adaptinf.clustering import cluster
from adaptinf.data import Clusters
from adaptinf.errors import ConfigError, DataError
from adaptinf.executors import LocalExecutor


def names(num_rows: int) -> list[str]:
    return [f"toy/{i}" for i in range(num_rows)]


def blobs(num_blobs: int, num_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(num_rows) % num_blobs
    centers = np.linalg.qr(rng.standard_normal((24, 24)))[0][:num_blobs]
    return (centers[truth] + 0.05 * rng.standard_normal((num_rows, 24))).astype(np.float32), truth


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def test_five_samples_by_hand() -> None:
    # On the unit circle: two rows at 0 degrees (one longer), one at 90, two around 180 degrees.
    vectors = np.array([[1, 0], [5, 0], [0, 2], [-1, 0.1], [-1, -0.1]])
    found = cluster(vectors, ids=list("abcde"), clusters=3)

    assert partition(found.labels) == {frozenset({0, 1}), frozenset({2}), frozenset({3, 4})}
    assert found.centers[found.labels[0]] == pytest.approx([1, 0])
    assert found.centers[found.labels[3]] == pytest.approx([-1 / 1.01**0.5, 0], abs=1e-6)
    assert found.distances == pytest.approx([0, 0, 0, 0.1 / 1.01**0.5, 0.1 / 1.01**0.5], abs=1e-6)


@pytest.mark.parametrize("num_blobs", [2, 3, 5, 7, 11])
def test_auto_finds_the_number_of_well_separated_blobs(num_blobs: int) -> None:
    vectors, truth = blobs(num_blobs, 900, seed=num_blobs)
    found = cluster(vectors, ids=names(900))
    assert len(found.centers) == num_blobs
    assert partition(found.labels) == partition(truth)
    assert found.info["knee"] == num_blobs


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_shuffled_rows_get_the_same_labels(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    vectors, ids = rng.standard_normal((150, 8)).astype(dtype), np.array(names(150))
    shuffle = rng.permutation(150)
    plain = cluster(vectors, ids=ids, clusters=6, seed=seed)
    shuffled = cluster(vectors[shuffle], ids=ids[shuffle], clusters=6, seed=seed)
    assert (plain.labels[shuffle] == shuffled.labels).all()
    assert (plain.distances[shuffle] == shuffled.distances).all()
    assert (plain.centers == shuffled.centers).all()


def test_shuffled_rows_of_a_pool_larger_than_the_bound_get_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "FIT_BYTES", 4 * 24 * 200)
    monkeypatch.setattr(tiles, "BLOCK_BYTES", 8 * 24 * 70)
    vectors, truth = blobs(5, 900)
    shuffle = np.random.default_rng(1).permutation(900)
    found = cluster(vectors[shuffle], ids=np.array(names(900))[shuffle], clusters=5)
    assert found.info["fit_rows"] == 200
    assert partition(found.labels) == partition(truth[shuffle])
    assert (found.labels == cluster(vectors, ids=names(900), clusters=5).labels[shuffle]).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_threads_change_no_bit(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).standard_normal((2000, 40)).astype(dtype)
    monkeypatch.setattr(tiles, "BLOCK_BYTES", 8 * 40 * 300)
    found = []
    for num_threads in (1, 2, 5):
        monkeypatch.setattr(threads, "num_blas_threads", lambda count=num_threads: count)
        found.append(cluster(vectors, ids=names(2000), clusters=30))
    for other in found[1:]:
        assert (other.labels == found[0].labels).all()
        assert (other.distances == found[0].distances).all() and (other.centers == found[0].centers).all()


def test_every_row_has_its_nearest_center() -> None:
    vectors = np.random.default_rng(0).standard_normal((300, 6))
    found = cluster(vectors, ids=names(300), clusters=9)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = np.linalg.norm(units[:, None] - found.centers[None], axis=2)
    assert (distances.argmin(axis=1) == found.labels).all()
    assert found.distances == pytest.approx(distances.min(axis=1), abs=1e-5)
    assert len(np.unique(found.labels)) == 9


def test_rows_without_a_vector_are_unscored_and_change_nothing_else() -> None:
    vectors, _ = blobs(3, 90)
    bad = np.zeros((4, 24), dtype=np.float32)
    bad[1, 3], bad[2, 3], bad[3, :] = np.nan, np.inf, -np.inf
    with_bad = cluster(np.concatenate([vectors, bad]), ids=names(94), clusters=3)
    assert with_bad.labels[90:].tolist() == [-1] * 4
    assert np.isnan(with_bad.distances[90:]).all()
    assert with_bad.info["unscored"] == 4
    assert (with_bad.labels[:90] == cluster(vectors, ids=names(90), clusters=3).labels).all()


@pytest.mark.parametrize("clusters", ["auto", 1, 5])
def test_no_row_and_one_row_are_fine(clusters: str | int) -> None:
    empty = cluster(np.zeros((0, 4)), ids=[], clusters=clusters)
    assert empty.labels.shape == (0,) and empty.centers.shape == (0, 4)
    one = cluster(np.ones((1, 4)), ids=["a"], clusters=clusters)
    assert one.labels.tolist() == [0] and one.centers.shape == (1, 4)
    unusable = cluster(np.zeros((2, 4)), ids=["a", "b"], clusters=clusters)
    assert unusable.labels.tolist() == [-1, -1] and unusable.centers.shape == (0, 4)


def test_the_number_of_clusters_is_capped_by_different_rows_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    vectors = np.repeat(np.eye(3), 4, axis=0)
    with caplog.at_level("INFO"):
        found = cluster(vectors, ids=names(12), clusters=8)
    assert (
        len(found.centers) == 3
        and found.info["requested"] == 8
        and partition(found.labels) == partition(np.arange(12) // 4)
    )
    assert "only 3 different rows" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_auto_keeps_thirty_samples_a_cluster_on_average() -> None:
    vectors = np.random.default_rng(0).standard_normal((100, 8))
    assert len(cluster(vectors, ids=names(100)).centers) <= 3
    assert len(cluster(vectors[:59], ids=names(59)).centers) == 1


def test_entries_at_the_ends_of_their_type_do_not_overflow() -> None:
    vectors = np.array([[1e300, 0], [0, 1e-300], [1e300, 1e300]])
    assert cluster(vectors, ids=list("abc"), clusters=3).distances == pytest.approx([0, 0, 0], abs=1e-6)
    half = np.array([[60000, 60000], [6e-8, 0]], dtype=np.float16)
    assert len(cluster(half, ids=list("ab"), clusters=2).centers) == 2


def test_an_empty_cluster_gets_the_farthest_row() -> None:
    rows = np.array([[1.0, 0], [0.9, 0.1], [0, 1]], dtype=np.float32)
    centers = np.array([[1.0, 0], [-1, 0]], dtype=np.float32)  # nobody is near the second
    assign = partial(clustering._assign, rows, np.array(list("abc")), np.arange(3), LocalExecutor())
    repaired, assigned = clustering._assign_and_repair(rows, np.arange(3), centers, assign)
    assert assigned.labels.tolist() == [0, 0, 1]
    assert repaired[1].tolist() == [0, 1] and centers[1].tolist() == [-1, 0]


def test_memory_maps_and_tensors_are_read_and_the_result_survives_the_disk(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    vectors, _ = blobs(4, 120)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = cluster(np.load(tmp_path / "vectors.npy", mmap_mode="r"), ids=names(120))
    tensor = cluster(torch.from_numpy(vectors).requires_grad_(), ids=names(120))
    cluster(torch.from_numpy(vectors).bfloat16(), ids=names(120))
    assert (mapped.labels == tensor.labels).all()
    mapped.save(tmp_path)
    assert (Clusters.load(tmp_path).labels == mapped.labels).all()


@pytest.mark.parametrize("clusters", [0, -1, 2.0, "many", True, None])
def test_a_wrong_number_of_clusters_is_refused(clusters: int) -> None:
    with pytest.raises(ConfigError, match=r"clustering\.clusters"):
        cluster(np.ones((2, 2)), ids=["a", "b"], clusters=clusters)


def test_wrong_shapes_and_repeated_ids_are_refused() -> None:
    with pytest.raises(DataError, match="1 ids for 2 rows"):
        cluster(np.ones((2, 2)), ids=["a"])
    with pytest.raises(DataError, match="'a' occurs twice"):
        cluster(np.ones((2, 2)), ids=["a", "a"])
    with pytest.raises(DataError, match="no columns"):
        cluster(np.ones((2, 0)), ids=["a", "b"])
    with pytest.raises(DataError, match="shape"):
        cluster(np.ones(2), ids=["a", "b"])
