"""How a step's budget is shared before a method chooses: exact counts, and methods that know nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.errors import ConfigError
from adaptinf.registry import scorer, selector
from adaptinf.selection import Restricting, Selection, compose, select
from adaptinf.selection.composition import old_samples
from adaptinf.storage import tables
from tests.helpers.toy_scores import toy_history, toy_targets

METHODS = [name for name in selector.names() if not isinstance(selector[name](), Restricting) and name != "multitask"]
NOT_ROWS = ("scores", "centers", "history", "targets")
"""Inputs that are no array of rows."""
SHARES = (0.0, 0.1, 0.145, 0.3, 1 / 3, 0.5, 0.8, 0.999)


def by_hand(share: float, budget: int) -> int:
    """Return the share as somebody would work it out on paper."""
    return int((Decimal(repr(share)) * budget).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def pool_of(sizes: list[int], seed: int) -> dict[str, Any]:
    """Return the inputs of a selection from datasets of these sizes, in an order of their own."""
    rng = np.random.default_rng(seed)
    arrived = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)
    count = len(arrived)
    skills = rng.choice(["see", "read", ""], count).astype(object)
    # Datasets of which nobody knows a skill are nothing special, as long as the pool has one.
    skills[arrived == 0] = ""
    return {
        "scores": {name: rng.standard_normal(count) for name in scorer.names()},
        "labels": rng.integers(-1, 4, count),
        "ids": np.array([f"d{step}/{number:03d}" for number, step in enumerate(arrived)], dtype=object),
        "vectors": rng.standard_normal((count, 4)),
        "embeddings": rng.standard_normal((count, 3)),
        "distances": rng.random(count),
        "arrived": arrived,
        "skills": skills if np.any(skills != "") else np.full(count, "see", object),
        "centers": rng.standard_normal((4, 4)),
        "targets": toy_targets(4),
        "history": toy_history(arrived, scorer.names(), num_steps=max(0, len(sizes) - 1), seed=seed),
    }


def chosen(pool: dict[str, Any], method: str, budget: int, step: int, is_kept: Any = None, **wishes: Any) -> Selection:
    none = np.zeros(len(pool["ids"]), bool)
    plan = compose(pool["arrived"], none if is_kept is None else is_kept, budget, current_step=step, seed=7, **wishes)
    return select(**pool, budget=budget, method=method, seed=5, current_step=step, composition=plan)


@pytest.mark.parametrize("method", METHODS)
def test_counts_are_exact_for_every_method_share_and_size(method: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(
        share=st.sampled_from(SHARES),
        sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4),
        budget=st.integers(0, 60),
        seed=st.integers(0, 99),
    )
    def holds(share: float, sizes: list[int], budget: int, seed: int) -> None:
        step, pool = len(sizes) - 1, pool_of(sizes, seed)
        found = chosen(pool, method, budget, step, replay_share=share)
        num_old, num_new = sum(sizes[:-1]), sizes[-1]
        wanted = by_hand(share, budget)
        assert found.replay is not None and found.replay.wanted == wanted == old_samples(share, budget)
        is_old = pool["arrived"][found.indices] < step
        assert len(found.ids) == len(set(found.ids)) == min(budget, num_old + num_new)
        new = min(num_new, budget - min(wanted, num_old))
        assert (~is_old).sum() == new and is_old.sum() == min(num_old, budget - new) == found.replay.given
        assert sum(part.given for part in found.parts) == len(found.ids)

    holds()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_chooses_inside_of_a_side_as_if_it_were_the_whole_pool(method: str) -> None:
    pool = pool_of([20, 20, 15], 3)
    found = chosen(pool, method, 24, 2, replay_share=0.5)
    for is_side, count in ((pool["arrived"] < 2, 12), (pool["arrived"] == 2, 12)):
        rows = np.flatnonzero(is_side)
        own: dict[str, Any] = {name: value[rows] for name, value in pool.items() if name not in NOT_ROWS}
        own["history"] = pool["history"].take(rows)
        own["scores"] = {name: score[rows] for name, score in pool["scores"].items()}
        alone = select(
            **own, centers=pool["centers"], targets=pool["targets"], budget=count, method=method, seed=5, current_step=2
        )
        assert set(found.ids) & set(own["ids"]) == set(alone.ids)
    back = np.random.default_rng(0).permutation(len(pool["ids"]))
    mixed: dict[str, Any] = {name: value[back] for name, value in pool.items() if name not in NOT_ROWS}
    mixed |= {"history": pool["history"].take(back)}
    mixed |= {"scores": {name: score[back] for name, score in pool["scores"].items()}, "centers": pool["centers"]}
    mixed["targets"] = pool["targets"]
    assert set(chosen(mixed, method, 24, 2, replay_share=0.5).ids) == set(found.ids)


def water(sizes: list[int], weights: list[float], budget: float) -> list[float]:
    """Return weighted water-filling by lifting the level until the budget is used up: slow, and not the package's."""
    shares = [weight * size for weight, size in zip(weights, sizes, strict=True)]
    low, high = 0.0, 1e9
    for _ in range(300):
        level = (low + high) / 2
        used = sum(min(size, level * share) for size, share in zip(sizes, shares, strict=True))
        low, high = (low, level) if used > budget else (level, high)
    return [min(size, low * share) for size, share in zip(sizes, shares, strict=True)]


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    weights=st.lists(st.sampled_from([None, 0.0, 0.5, 1.0, 2.0, 7.5]), min_size=5, max_size=5),
    share=st.sampled_from([None, 0.2, 0.5]),
    budget=st.integers(0, 80),
)
def test_weights_share_by_water_filling(
    sizes: list[int], weights: list[float | None], share: float | None, budget: int
) -> None:
    step = len(sizes) - 1
    named = {number: weight for number, weight in enumerate(weights) if weight is not None}
    arrived = np.repeat(np.arange(len(sizes)), sizes)
    none = np.zeros(len(arrived), bool)
    plan = compose(arrived, none, budget, current_step=step, replay_share=share, weights=named, seed=1)
    parts = {part.dataset: part for part in plan.parts}
    sharing = [n for n in range(len(sizes)) if named.get(n, 1.0) > 0 and (share is None or n < step)]
    theirs = [sizes[n] for n in sharing]
    if share is None:
        left = budget
    else:
        new = min(sizes[step], budget - min(by_hand(share, budget), sum(theirs)))
        assert parts[step].budget == new
        left = budget - new
    left = min(left, sum(theirs))
    real = water(theirs, [named.get(n, 1.0) for n in sharing], left)
    given = [parts[n].budget for n in sharing]
    assert sum(given) == left
    assert all(abs(count - exact) < 1 + 1e-6 for count, exact in zip(given, real, strict=True))
    assert all(len(parts[n].rows) == sizes[n] >= parts[n].budget for n in sharing)
    assert not {n for n, weight in named.items() if weight == 0 and n < step} & parts.keys()


def test_a_dataset_of_weight_0_gives_nothing_even_where_others_have_too_few() -> None:
    arrived = np.repeat([0, 1, 2], [50, 3, 4])
    none = np.zeros(57, bool)
    plan = compose(arrived, none, 40, current_step=2, replay_share=0.5, weights={0: 0.0})
    assert [(part.side, part.dataset, part.budget) for part in plan.parts] == [("new", 2, 4), ("old", 1, 3)]
    plan = compose(arrived, none, 40, current_step=2, weights={0: 0.0})
    assert [(part.dataset, part.budget) for part in plan.parts] == [(1, 3), (2, 4)]


def test_huge_and_tiny_weights_count_by_their_ratio_alone() -> None:
    arrived, none = np.repeat([0, 1], 500), np.zeros(1000, bool)
    for scale in (1e-300, 1.0, 1e300):
        plan = compose(arrived, none, 100, current_step=2, weights={0: 3 * scale, 1: scale})
        assert [part.budget for part in plan.parts] == [75, 25]


@pytest.mark.parametrize("method", METHODS)
def test_kept_samples_of_the_new_dataset_are_always_chosen_first(method: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(
        share=st.sampled_from([None, *SHARES]),
        weights=st.sampled_from([None, {0: 2.0}, {0: 0.0, 1: 3.0}]),
        sizes=st.lists(st.integers(0, 20), min_size=1, max_size=3),
        budget=st.integers(0, 30),
        seed=st.integers(0, 99),
    )
    def holds(
        share: float | None, weights: Mapping[int, float] | None, sizes: list[int], budget: int, seed: int
    ) -> None:
        step, pool = len(sizes) - 1, pool_of(sizes, seed)
        is_new = pool["arrived"] == step
        is_kept = np.random.default_rng(seed).random(len(is_new)) < 0.3
        num_kept = int((is_kept & is_new).sum())
        limit = budget - by_hand(share or 0.0, budget) * bool((~is_new).any())
        if num_kept > limit:
            with pytest.raises(ConfigError, match=rf"names {num_kept} samples .* {limit} of|names {num_kept} "):
                chosen(pool, method, budget, step, is_kept, replay_share=share, weights=weights)
            return
        found = chosen(pool, method, budget, step, is_kept, replay_share=share, weights=weights)
        assert set(pool["ids"][is_kept & is_new]) <= set(found.ids)
        assert len(found.ids) == len(set(found.ids)) <= budget
        if found.replay is not None:
            assert found.replay.wanted == by_hand(share or 0.0, budget - num_kept)
        firsts = [part for part in found.parts if part.side == "kept" and part.size]
        assert [part.given for part in firsts] == [num_kept] * bool(num_kept)

    holds()


def test_kept_samples_go_with_a_method_that_restricts_its_candidates() -> None:
    pool = pool_of([9, 12], 1)
    is_kept = (pool["arrived"] == 1) & (np.cumsum(pool["arrived"] == 1) <= 3)
    found = chosen(pool, "sequential", 8, 1, is_kept)
    assert len(found.ids) == 8 and set(pool["ids"][is_kept]) <= set(found.ids)
    assert all(id.startswith("d1/") for id in found.ids)


def test_the_tables_name_the_part_of_each_sample_and_cluster(tmp_path: Any) -> None:
    pool = pool_of([30, 30], 2)
    is_kept = (pool["arrived"] == 1) & (np.cumsum(pool["arrived"] == 1) <= 4)
    found = chosen(pool, "adapt", 20, 1, is_kept, replay_share=0.25)
    assert [(part.side, part.wanted, part.given) for part in found.parts] == [
        ("kept", 4, 4), ("new", 12, 12), ("old", 4, 4),
    ]  # fmt: skip
    assert np.bincount(found.table["part"]).tolist() == [4, 12, 4]
    # Nothing was chosen among the kept ones.
    assert set(found.clusters["part"]) == {1, 2}
    for part in (1, 2):
        own = found.clusters["part"] == part
        taken = found.table["cluster"][(found.table["part"] == part) & (found.table["cluster"] >= 0)]
        assert found.clusters["budget"][own].sum() == len(taken)
        for cluster in np.unique(taken):
            is_in = (found.table["part"] == part) & (found.table["cluster"] == cluster)
            assert sorted(found.table["rank"][is_in]) == list(range(is_in.sum()))
    found.save(tmp_path)
    back = Selection.load(tmp_path)
    assert (back.parts, back.replay) == (found.parts, found.replay)
    info = tables.read_json(tmp_path / "info.json")
    assert info["replay"] == {"wanted": 4, "given": 4}
    assert info["parts"][2] == {"side": "old", "arrived": None, "size": 30, "wanted": 4, "given": 4}


def test_without_a_composition_nothing_is_written_about_parts(tmp_path: Any) -> None:
    pool = pool_of([30, 30], 2)
    found = select(**pool, budget=20, method="adapt_plus", seed=5, current_step=1)
    found.save(tmp_path)
    assert tables.read_json(tmp_path / "info.json").keys() == {"rows", "clusters"}
    assert "part" not in found.table and "part" not in found.clusters
