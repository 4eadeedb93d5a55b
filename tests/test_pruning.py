"""Step 3: exact caps, the scan of pairs against its slow definition, no advantage for what came first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf import removal, tiles
from adaptinf.budgets import allocate
from adaptinf.data import Pruning
from adaptinf.errors import ConfigError, DataError
from adaptinf.pruning import prune
from adaptinf.seeded import derive_seed, hash_ids, seeded_keys
from adaptinf.tables import text_array

modes = st.tuples(st.sampled_from(["greedy", "semdedup"]), st.sampled_from(["balanced", "global"]))


def names(num_rows: int) -> list[str]:
    return [f"toy/{i}" for i in range(num_rows)]


def cosine_matrix(embeddings: np.ndarray) -> np.ndarray:
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return units @ units.T


def slow_prune(embeddings: np.ndarray, labels: np.ndarray, cap: int, seed: int, allocation: str) -> set[int]:
    """The definition of `greedy`, word by word: O(n^2) pairs in a list, scanned from most to least similar."""
    place = np.argsort(np.argsort(seeded_keys(hash_ids(names(len(labels))), seed, "prune")))
    cosines = cosine_matrix(embeddings)
    rows = range(len(labels))
    pairs = [(i, j) for i in rows for j in rows if labels[i] == labels[j] and place[i] < place[j]]
    pairs.sort(key=lambda pair: -cosines[pair])

    clusters, sizes = np.unique(labels, return_counts=True)
    keep = allocate(sizes, cap, seed=derive_seed(seed, "cap"))
    quota = dict(zip(clusters.tolist(), (sizes - keep).tolist(), strict=True))
    removed: set[int] = set()
    for i, j in pairs:
        open_quota = len(removed) < len(labels) - cap if allocation == "global" else quota[int(labels[j])] > 0
        if open_quota and i not in removed and j not in removed:
            removed.add(j)
            quota[int(labels[j])] -= 1
    return removed


def test_five_samples_by_hand() -> None:
    # Angles 0, 1, 10, 13 and 90 degrees in one cluster. The pairs, nearest first: (0, 1) at 1 degree, (2, 3) at 3,
    # (1, 2) at 9, (0, 2) at 10, (1, 3) at 12, (0, 3) at 13, (3, 4) at 77, ...
    angles = np.deg2rad([0, 1, 10, 13, 90])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    place = np.argsort(np.argsort(seeded_keys(hash_ids(list("abcde")), 0, "prune")))
    first = max((0, 1), key=lambda row: place[row])
    second = max((2, 3), key=lambda row: place[row])

    pruned = prune(embeddings, np.zeros(5, int), list("abcde"), 3)
    assert pruned.removed.tolist() == [first, second]
    assert pruned.kept.tolist() == sorted({0, 1, 2, 3, 4} - {first, second})
    assert pruned.neighbour.tolist() == [1 - first, 5 - second]
    assert pruned.similarity == pytest.approx(np.cos(np.deg2rad([1, 3])))


@settings(max_examples=60, deadline=None)
@given(
    num_rows=st.integers(1, 24),
    num_clusters=st.integers(1, 4),
    cap=st.integers(1, 24),
    seed=st.integers(0, 10_000),
    allocation=st.sampled_from(["balanced", "global"]),
)
def test_greedy_equals_its_slow_definition(
    num_rows: int, num_clusters: int, cap: int, seed: int, allocation: str
) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((num_rows, 3)), rng.integers(0, num_clusters, num_rows)
    cap = max(cap, num_clusters)  # so that every cluster has a pair left to decide
    pruned = prune(embeddings, labels, names(num_rows), cap, seed=seed, allocation=allocation)
    slow = slow_prune(embeddings, labels, cap, seed, allocation)
    assert set(pruned.removed.tolist()) == slow


@pytest.mark.parametrize("allocation", ["balanced", "global"])
def test_tiles_give_the_same_as_one_matrix(allocation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    embeddings, labels = rng.standard_normal((150, 4)), rng.integers(0, 2, 150)
    whole = prune(embeddings, labels, names(150), 40, allocation=allocation)
    for module, name, value in [(tiles, "MATRIX_ROWS", 8), (tiles, "TILE_COLUMNS", 7), (removal, "SCAN_ROWS", 9)]:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(removal, "REFRESH_ROWS", 3)
    tiled = prune(embeddings, labels, names(150), 40, allocation=allocation)
    for field in ("kept", "removed", "neighbour", "similarity"):
        np.testing.assert_array_equal(getattr(whole, field), getattr(tiled, field))
    assert set(whole.removed.tolist()) == slow_prune(embeddings, labels, 40, 0, allocation)


@settings(max_examples=50, deadline=None)
@given(num_rows=st.integers(0, 40), cap=st.integers(0, 50), seed=st.integers(0, 999), mode=modes)
def test_the_cap_is_exact_and_neighbours_are_true(num_rows: int, cap: int, seed: int, mode: tuple[str, str]) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((num_rows, 4)).astype(np.float16), rng.integers(-1, 4, num_rows)
    embeddings[rng.random(num_rows) < 0.1] = np.nan
    pruned = prune(embeddings, labels, names(num_rows), cap, seed=seed, order=mode[0], allocation=mode[1])

    assert len(pruned.kept) == min(cap, num_rows)
    assert sorted([*pruned.kept, *pruned.removed]) == list(range(num_rows))
    assert (np.isnan(pruned.similarity) == (pruned.neighbour < 0)).all()
    cosines = cosine_matrix(embeddings.astype(float))
    for row, neighbour, similarity in zip(pruned.removed, pruned.neighbour, pruned.similarity, strict=True):
        kept = pruned.kept[(labels[pruned.kept] == labels[row]) & ~np.isnan(cosines[row, pruned.kept])]
        if mode[0] == "greedy" and len(kept) and labels[row] >= 0:
            assert neighbour in kept
            assert similarity == pytest.approx(cosines[row, kept].max(), abs=1e-6)
        if neighbour >= 0:
            assert labels[neighbour] == labels[row] >= 0
            assert similarity == pytest.approx(cosines[row, neighbour], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), cap=st.integers(0, 40), mode=modes, duplicates=st.booleans())
def test_the_order_of_rows_does_not_matter(seed: int, cap: int, mode: tuple[str, str], duplicates: bool) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels, ids = rng.standard_normal((40, 3)), rng.integers(-1, 3, 40), np.array(names(40))
    if duplicates:
        embeddings = np.round(embeddings)  # many equal rows, and zero rows
    shuffle = rng.permutation(40)
    options: dict[str, Any] = {"seed": seed, "order": mode[0], "allocation": mode[1]}
    plain = prune(embeddings, labels, ids, cap, **options)
    shuffled = prune(embeddings[shuffle], labels[shuffle], ids[shuffle], cap, **options)
    assert shuffle[shuffled.removed].tolist() == plain.removed.tolist()
    assert np.where(shuffled.neighbour < 0, -1, shuffle[shuffled.neighbour]).tolist() == plain.neighbour.tolist()


def test_semdedup_removes_what_is_most_like_something_earlier() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((30, 3))
    place = np.argsort(np.argsort(seeded_keys(hash_ids(names(30)), 0, "prune")))
    cosines = np.where(place[None, :] < place[:, None], cosine_matrix(embeddings), -np.inf)
    pruned = prune(embeddings, np.zeros(30, int), names(30), 12, order="semdedup")
    assert pruned.removed.tolist() == np.argsort(-cosines.max(axis=1))[:18].tolist()
    assert pruned.neighbour.tolist() == cosines.argmax(axis=1)[pruned.removed].tolist()
    table = pruned.table(text_array(names(30)), np.zeros(30, int))
    assert (~table["neighbour_stayed"]).any()  # the one pass forgets that a neighbour left too


@pytest.mark.parametrize("order", ["greedy", "semdedup"])
@pytest.mark.parametrize("allocation", ["balanced", "global"])
def test_old_and_new_duplicates_leave_equally_often(order: str, allocation: str) -> None:
    rng = np.random.default_rng(0)
    once, labels = rng.standard_normal((1500, 8)).astype(np.float16), rng.integers(0, 5, 1500)
    ids = [f"old/{i}" for i in range(1500)] + [f"new/{i}" for i in range(1500)]
    twice, twice_labels = np.concatenate([once, once]), np.concatenate([labels, labels])
    pruned = prune(twice, twice_labels, ids, 1500, order=order, allocation=allocation)
    assert 0.45 < (pruned.removed < 1500).mean() < 0.55
    assert len(set((pruned.kept % 1500).tolist())) > (1499 if allocation == "global" else 1300)


def test_balanced_shrinks_the_large_cluster_most() -> None:
    labels = np.repeat([0, 1, 2], [5, 20, 75])
    pruned = prune(np.random.default_rng(0).standard_normal((100, 4)), labels, names(100), 45)
    assert np.bincount(labels[pruned.kept]).tolist() == [5, 20, 20]


def test_global_takes_from_the_cluster_with_the_duplicates() -> None:
    far = np.eye(10)
    embeddings = np.concatenate([far, np.repeat(far[:1], 10, axis=0)])
    labels = np.repeat([0, 1], 10)
    pruned = prune(embeddings, labels, names(20), 11, allocation="global")
    assert (labels[pruned.removed] == 1).all() and np.bincount(labels[pruned.kept]).tolist() == [10, 1]


def test_unscored_samples_leave_first() -> None:
    labels = np.repeat([-1, 0], [4, 8])
    embeddings = np.random.default_rng(0).standard_normal((12, 4))
    pruned = prune(embeddings, labels, names(12), 6)
    assert set(pruned.removed[:4].tolist()) == {0, 1, 2, 3}
    assert pruned.neighbour[:4].tolist() == [-1] * 4 and (pruned.neighbour[4:] >= 4).all()
    assert set(prune(embeddings, labels, names(12), 10).removed.tolist()) < {0, 1, 2, 3}


@pytest.mark.parametrize("order", ["greedy", "semdedup"])
def test_a_row_that_is_not_finite_affects_only_itself(order: str) -> None:
    embeddings = np.random.default_rng(0).standard_normal((30, 4))
    bad = np.concatenate([embeddings, [[np.nan] * 4, [0.0] * 4, [np.inf, 0, 0, 0]]])
    plain = prune(embeddings, np.zeros(30, int), names(30), 10, order=order)
    with_bad = prune(bad, np.zeros(33, int), names(33), 13, order=order)
    assert with_bad.removed.tolist() == plain.removed.tolist()
    np.testing.assert_array_equal(with_bad.similarity, plain.similarity)


def test_without_embeddings_removal_is_uniform_and_differs_from_step_to_step() -> None:
    removed = [set(prune(None, None, names(300), 200, seed=seed).removed.tolist()) for seed in range(20)]
    overlaps = [len(first & second) for i, first in enumerate(removed) for second in removed[:i]]
    assert np.mean(overlaps) == pytest.approx(100 * 100 / 300, rel=0.06)
    assert (prune(None, None, names(9), 3).neighbour == -1).all()
    assert set(prune(None, np.repeat([-1, 0], 3), names(6), 3).removed.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("cap", [0, 1, 99])
def test_no_row_and_one_row_are_fine(cap: int) -> None:
    assert len(prune(np.zeros((0, 3)), np.zeros(0, int), [], cap).kept) == 0
    one = prune(np.ones((1, 3)), np.zeros(1, int), ["a"], cap)
    assert len(one.kept) == min(cap, 1) and one.neighbour.tolist() == [-1] * (1 - len(one.kept))


def test_tensors_are_read_and_arrays_fit_the_record() -> None:
    torch = pytest.importorskip("torch")
    rows = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    labels = np.zeros(12, int)
    pruned = prune(torch.from_numpy(rows).requires_grad_(), torch.from_numpy(labels), names(12), 5)
    assert pruned.removed.tolist() == prune(rows, labels, names(12), 5).removed.tolist()
    assert isinstance(pruned, Pruning)
    assert [getattr(pruned, name).dtype for name in ("kept", "removed", "neighbour", "similarity")] == [
        np.int64,
        np.int64,
        np.int64,
        np.float32,
    ]


def test_wrong_input_is_refused_with_the_way_out() -> None:
    rows, labels, ids = np.ones((3, 2)), np.zeros(3, int), list("abc")
    with pytest.raises(ConfigError, match=r"pruning\.order='gready': did you mean 'greedy'"):
        prune(rows, labels, ids, 1, order="gready")
    with pytest.raises(ConfigError, match=r"pruning\.allocation='fair': known: balanced, global"):
        prune(rows, labels, ids, 1, allocation="fair")
    with pytest.raises(ConfigError, match="cap=-1"):
        prune(rows, labels, ids, -1)
    with pytest.raises(ConfigError, match="needs labels"):
        prune(rows, None, ids, 1)
    with pytest.raises(DataError, match="labels have shape"):
        prune(rows, labels[:2], ids, 1)
    with pytest.raises(DataError, match="2 embeddings for 3 ids"):
        prune(rows[:2], labels, ids, 1)
    with pytest.raises(DataError, match="'a' occurs twice"):
        prune(rows, labels, list("aba"), 1)
