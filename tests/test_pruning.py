"""Step 3: exact caps, the scan of pairs against its slow definition, no advantage for what came first.

The property tests run on a few examples at every push and on 10,000 under `-m slow`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays import near_duplicates as removal
from adaptinf.arrays import pruning_work, splitting, threads, tiles
from adaptinf.arrays.budgets import allocate
from adaptinf.arrays.pruning_work import Members
from adaptinf.arrays.seeded import derive_seed, hash_ids, seeded_keys
from adaptinf.data import Pruning
from adaptinf.errors import ConfigError, DataError
from adaptinf.pruning import prune
from adaptinf.storage.tables import text_array

OFTEN = 10_000
"""Examples of a property test under `-m slow`; more than the usual five minutes on a busy machine."""
modes = st.tuples(st.sampled_from(["greedy", "semdedup"]), st.sampled_from(["balanced", "global"]))


def often(property_test: Any) -> Any:
    """Return a property test as one for `-m slow`."""
    return pytest.mark.slow(pytest.mark.timeout(3600)(settings(max_examples=OFTEN, deadline=None)(property_test)))


def names(num_rows: int) -> list[str]:
    return [f"toy/{i}" for i in range(num_rows)]


def cosine_matrix(embeddings: np.ndarray) -> np.ndarray:
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return units @ units.T


def exact_cosines(embeddings: np.ndarray) -> np.ndarray:
    """Cosines of unit vectors whose entries are multiples of 2^-26, in steps of 2^-22: what the pruning ranks by."""
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    whole = np.rint(units * 2**26).astype(np.int64)
    return np.floor((whole @ whole.T) / 2**30 + 0.5)  # integer sums: no rounding before this one


def slow_prune(embeddings: np.ndarray, labels: np.ndarray, cap: int, seed: int, allocation: str) -> list[int]:
    """The definition of `greedy`, word by word, O(n^3): of the most similar pair of which both stay, one leaves."""
    place = np.argsort(np.argsort(seeded_keys(hash_ids(names(len(labels))), seed, "prune")))
    cosines = exact_cosines(embeddings)
    clusters, sizes = np.unique(labels, return_counts=True)
    keep = allocate(sizes, cap, seed=derive_seed(seed, "cap"))
    quota = dict(zip(clusters.tolist(), (sizes - keep).tolist(), strict=True))

    staying, removed = set(range(len(labels))), []
    while len(staying) > cap:
        pairs = [
            (cosines[i, j], place[j], j)
            for i in staying
            for j in staying
            if place[i] < place[j] and labels[i] == labels[j] and (allocation == "global" or quota[int(labels[j])] > 0)
        ]
        leaves = max(pairs)[2]
        staying.remove(leaves)
        removed.append(leaves)
        quota[int(labels[leaves])] -= 1
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


def check_greedy_equals_its_slow_definition(
    num_rows: int, num_clusters: int, cap: int, seed: int, allocation: str, duplicates: bool
) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((num_rows, 3)), rng.integers(0, num_clusters, num_rows)
    if duplicates:
        embeddings = embeddings[rng.integers(0, num_rows // 2 + 1, num_rows)]
    cap = max(cap, num_clusters)  # so that every cluster has a pair left to decide
    pruned = prune(embeddings, labels, names(num_rows), cap, seed=seed, allocation=allocation)
    slow = slow_prune(embeddings, labels, cap, seed, allocation)
    if allocation == "global":
        assert pruned.removed.tolist() == slow
    for cluster in range(num_clusters):
        assert [i for i in pruned.removed if labels[i] == cluster] == [i for i in slow if labels[i] == cluster]


greedy_cases = given(
    num_rows=st.integers(1, 24),
    num_clusters=st.integers(1, 4),
    cap=st.integers(1, 24),
    seed=st.integers(0, 2**32 - 1),
    allocation=st.sampled_from(["balanced", "global"]),
    duplicates=st.booleans(),
)
test_greedy_equals_its_slow_definition = settings(max_examples=100, deadline=None)(
    greedy_cases(check_greedy_equals_its_slow_definition)
)
test_greedy_equals_its_slow_definition_often = often(greedy_cases(check_greedy_equals_its_slow_definition))


SMALL_TILES = [
    (removal, "TILE_ROWS", 16), (removal, "TILE_COLUMNS", 7), (removal, "STRIP_ROWS", 5),
    (tiles, "TILE_ROWS", 9), (tiles, "TILE_COLUMNS", 8), (tiles, "HELD_BYTES", 500),
    (pruning_work, "SHARD_OPERATIONS", 12_000),
]  # fmt: skip


@pytest.mark.parametrize("order", ["greedy", "semdedup"])
@pytest.mark.parametrize("allocation", ["balanced", "global"])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_tiles_and_threads_change_no_bit(
    order: str, allocation: str, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    embeddings, labels = rng.standard_normal((150, 4)), rng.integers(0, 3, 150)
    embeddings[100:] = embeddings[:50]
    whole = prune(embeddings, labels, names(150), 40, order=order, allocation=allocation)
    for module, name, value in SMALL_TILES:
        monkeypatch.setattr(module, name, value)
    for module in (threads, pruning_work):
        monkeypatch.setattr(module, "num_blas_threads", lambda: num_threads)
    tiled = prune(embeddings, labels, names(150), 40, order=order, allocation=allocation)
    for field in ("kept", "removed", "neighbour", "similarity"):
        np.testing.assert_array_equal(getattr(whole, field), getattr(tiled, field))
    if order == "greedy":
        assert set(whole.removed.tolist()) == set(slow_prune(embeddings, labels, 40, 0, allocation))


def check_a_removed_samples_nearest_partner_was_still_there(
    num_rows: int, dim: int, cap: int, seed: int, dtype: str
) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((num_rows, dim)).astype(dtype), rng.integers(0, 3, num_rows)
    pruned = prune(embeddings, labels, names(num_rows), max(cap, 3), seed=seed)
    cosines = exact_cosines(embeddings.astype(float))
    np.fill_diagonal(cosines, -np.inf)
    staying = np.ones(num_rows, dtype=bool)
    for row in pruned.removed:
        among = np.flatnonzero(staying & (labels == labels[row]))
        # It was one of the two most similar samples of those that its cluster still had.
        assert cosines[row, among].max() == cosines[np.ix_(among, among)].max()
        staying[row] = False


partner_cases = given(
    num_rows=st.integers(3, 40),
    dim=st.integers(2, 6),
    cap=st.integers(0, 30),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
test_a_removed_samples_nearest_partner_was_still_there = settings(max_examples=100, deadline=None)(
    partner_cases(check_a_removed_samples_nearest_partner_was_still_there)
)
test_a_removed_samples_nearest_partner_was_still_there_often = often(
    partner_cases(check_a_removed_samples_nearest_partner_was_still_there)
)


def check_the_cap_is_exact_and_neighbours_are_true(
    num_rows: int, num_clusters: int, cap: int, seed: int, mode: tuple[str, str]
) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((num_rows, 4)).astype(np.float16), rng.integers(-1, num_clusters, num_rows)
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


cap_cases = given(
    num_rows=st.integers(0, 40),
    num_clusters=st.integers(1, 60),
    cap=st.integers(0, 50),
    seed=st.integers(0, 2**32 - 1),
    mode=modes,
)
test_the_cap_is_exact_and_neighbours_are_true = settings(max_examples=100, deadline=None)(
    cap_cases(check_the_cap_is_exact_and_neighbours_are_true)
)
test_the_cap_is_exact_and_neighbours_are_true_often = often(cap_cases(check_the_cap_is_exact_and_neighbours_are_true))


@pytest.mark.parametrize("order", ["greedy", "semdedup"])
@pytest.mark.parametrize("allocation", ["balanced", "global"])
def test_a_cap_below_the_number_of_clusters_is_met(order: str, allocation: str) -> None:
    embeddings, labels = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) % 20
    pruned = prune(embeddings, labels, names(60), 7, order=order, allocation=allocation)
    assert len(pruned.kept) == 7
    if allocation == "balanced":
        assert len(set(labels[pruned.kept].tolist())) == 7  # nobody keeps a second before all have one
        emptied = ~np.isin(labels[pruned.removed], labels[pruned.kept])
        assert ((pruned.neighbour < 0) == (emptied if order == "greedy" else pruned.neighbour < 0)).all()


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
    with pytest.raises(ConfigError, match="need labels"):
        prune(rows, None, ids, 1)
    with pytest.raises(DataError, match="labels have shape"):
        prune(rows, labels[:2], ids, 1)
    with pytest.raises(DataError, match="2 embeddings for 3 ids"):
        prune(rows[:2], labels, ids, 1)
    with pytest.raises(DataError, match="'a' occurs twice"):
        prune(rows, labels, list("aba"), 1)


def test_clusters_share_shards_up_to_a_size_and_a_large_one_is_a_shard_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pruning_work, "SHARD_OPERATIONS", 4 * 100)
    parts = [Members(number, np.arange(size), 1) for number, size in enumerate([3, 20, 8, 6, 5, 0])]
    shards = pruning_work.shards_of(parts, dim=4)
    assert [str(shard) for shard in shards] == ["cluster 1", "clusters 2, 3", "clusters 4, 0, 5"]
    assert str(pruning_work.ClusterShard(tuple(parts * 2))).endswith("4 and 7 more")
    assert pruning_work.shards_of([], dim=4) == []


@settings(max_examples=40, deadline=None)
@given(
    num_rows=st.integers(0, 120),
    cap=st.integers(0, 130),
    seed=st.integers(0, 999),
    mode=modes,
    duplicates=st.booleans(),
)
def test_a_large_cluster_is_pruned_in_parts_to_the_exact_cap(
    num_rows: int, cap: int, seed: int, mode: tuple[str, str], duplicates: bool
) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((num_rows, 3)), rng.integers(-1, 2, num_rows)
    if duplicates:
        embeddings = np.round(embeddings)  # many equal rows, and zero rows
    ids, shuffle = np.array(names(num_rows), dtype=object), rng.permutation(num_rows)
    options: dict[str, Any] = {"seed": seed, "order": mode[0], "allocation": mode[1]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "PART_ROWS", 12)
        pruned = prune(embeddings, labels, ids, cap, **options)
        shuffled = prune(embeddings[shuffle], labels[shuffle], ids[shuffle], cap, **options)

    assert sorted([*pruned.kept, *pruned.removed]) == list(range(num_rows)) and len(pruned.kept) == min(cap, num_rows)
    assert shuffle[shuffled.removed].tolist() == pruned.removed.tolist()
    assert np.where(shuffled.neighbour < 0, -1, shuffle[shuffled.neighbour]).tolist() == pruned.neighbour.tolist()
    of_cluster = {int(label): set(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}
    for row, neighbour in zip(pruned.removed.tolist(), pruned.neighbour.tolist(), strict=True):
        assert neighbour == -1 or neighbour in of_cluster[int(labels[row])]
        if mode[0] == "greedy" and neighbour >= 0:
            assert neighbour in pruned.kept
    if len(pruned.removed) > (labels < 0).sum() and (labels >= 0).sum() > 30:
        assert pruned.divided.parts > pruned.divided.clusters >= 1


def test_each_part_is_pruned_by_the_definition_and_the_most_similar_pairs_of_all_parts_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embeddings, labels = np.random.default_rng(3).standard_normal((90, 4)), np.zeros(90, int)
    monkeypatch.setattr(splitting, "PART_ROWS", 40)
    in_order = np.argsort(seeded_keys(hash_ids(names(90)), 0, "prune"))
    parts = [in_order[part] for part in splitting.split(embeddings, in_order)]
    of_part = np.empty(90, dtype=int)
    for number, part in enumerate(parts):
        of_part[part] = number
    pruned = prune(embeddings, labels, names(90), 50)
    # The parts as clusters of their own, pruned by one ranking of all pairs, are the same thing.
    assert pruned.removed.tolist() == slow_prune(embeddings, of_part, 50, 0, "global")
    assert pruned.divided == (1, 90, len(parts))


def test_copies_that_fill_several_parts_leave_one_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "PART_ROWS", 40)
    embeddings = np.concatenate([np.ones((100, 3)), np.random.default_rng(0).standard_normal((30, 3))])
    pruned = prune(embeddings, np.zeros(130, int), names(130), 34)
    assert 1 <= sum(row < 100 for row in pruned.kept.tolist()) <= 6
    last = prune(embeddings, np.zeros(130, int), names(130), 1)
    assert len(last.kept) == 1 and (last.neighbour == last.kept[0]).all()


def test_samples_that_must_stay_count_towards_the_cap_and_are_not_compared() -> None:
    embeddings = np.repeat(np.eye(3), 4, axis=0)
    stays = np.zeros(12, dtype=bool)
    stays[[0, 1, 4]] = True
    pruned = prune(embeddings, np.zeros(12, int), names(12), 6, stays=stays)
    assert {0, 1, 4} <= set(pruned.kept.tolist()) and len(pruned.kept) == 6
    assert {row // 4 for row in pruned.kept.tolist() if not stays[row]} == {0, 1, 2}
    assert not set(pruned.neighbour.tolist()) & {0, 1, 4}
    assert len(prune(embeddings, np.zeros(12, int), names(12), 2, stays=stays).kept) == 3
