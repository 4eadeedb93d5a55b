"""Properties that every selector has, drawn at random: a hundred and more examples on every push, 10,000 when slow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays.budgets import allocate, allocate_weighted
from adaptinf.registry import scorer, selector
from adaptinf.selection import Restricting, select
from adaptinf.selection.cluster_budgets import BUDGETS
from adaptinf.selection.combining import WAYS
from adaptinf.selection.inputs import gather
from adaptinf.selection.interface import INPUTS
from adaptinf.selection.methods.multiway import PAPER_SCORERS
from adaptinf.selection.sampling import SAMPLERS
from tests.helpers.toy_scores import toy_history, toy_targets

METHODS = selector.names()
SCORERS = scorer.names()
SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]
examples = pytest.mark.parametrize("num_examples", [150, pytest.param(10_000, marks=SLOW)])


class Case(NamedTuple):
    """One call of `select`."""

    method: str
    inputs: dict[str, Any]
    budget: int
    seed: int
    options: dict[str, str]


def toy_scores(rng: np.random.Generator, num_rows: int, damage: str) -> dict[str, np.ndarray]:
    scores = {name: rng.standard_normal(num_rows) ** (1 + i % 3) for i, name in enumerate(SCORERS)}
    for score in scores.values():
        hit = rng.random(num_rows) < rng.choice([0.03, 0.5])
        if damage in ("nan", "inf", "-inf"):
            score[hit] = float(damage)
        elif damage == "constant":
            score[:] = rng.choice([0.0, 3.0, -1e300])
        elif damage == "none at all":
            score[:] = np.nan
    return scores


def toy_labels(rng: np.random.Generator, num_rows: int, shape: str) -> np.ndarray:
    """Return labels below 8: clusters of one row each beside a large one, gaps (empty clusters), or samples of none."""
    if shape == "one-row clusters":
        return np.minimum(np.arange(num_rows), 7)[rng.permutation(num_rows)]
    if shape == "empty clusters":
        return rng.choice([1, 4, 7], num_rows)
    return rng.integers(-1 if shape == "some unscored" else 0, 5, num_rows)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num_rows = draw(st.integers(0, 60))
    vectors = rng.standard_normal((num_rows, 4))
    vectors[rng.random(num_rows) < 0.1] = draw(st.sampled_from([0.0, 1.0, np.nan]))
    damage = draw(st.sampled_from(["", "nan", "inf", "-inf", "constant", "none at all"]))
    shape = draw(st.sampled_from(["", "some unscored", "one-row clusters", "empty clusters"]))
    inputs = {
        "scores": toy_scores(rng, num_rows, damage),
        "labels": toy_labels(rng, num_rows, shape),
        "ids": np.array([f"toy/{i:02d}" for i in range(num_rows)], dtype=object),
        "vectors": vectors,
        "embeddings": vectors[:, :3],
        "distances": np.where(rng.random(num_rows) < 0.1, np.nan, rng.random(num_rows)),
        "arrived": rng.integers(0, 3, num_rows),
        "skills": rng.choice(["see", "read", ""], num_rows).astype(object),
        "centers": rng.standard_normal((8, 4)),
    }
    inputs["targets"] = toy_targets(4)
    inputs["history"] = toy_history(inputs["arrived"], SCORERS, num_steps=2, seed=num_rows)
    # A pool of which nobody knows a skill is refused by `oracle`, which is another test.
    inputs["skills"][:1] = "see"
    # A third of all cases for the method with the most ways to go wrong.
    method = draw(st.sampled_from([*METHODS, *["adapt"] * (len(METHODS) // 2)]))
    ways = {"budgets": BUDGETS, "choose": (*WAYS, "fixed:el2n"), "sampling": tuple(SAMPLERS)}
    options = {name: draw(st.sampled_from(values)) for name, values in ways.items()} if method == "adapt" else {}
    return Case(method, inputs, draw(st.integers(0, 75)), draw(st.integers(0, 9)), options)


def run(case: Case, order: np.ndarray) -> Any:
    mixed: dict[str, Any] = {
        name: values if name in ("centers", "scores", "history", "targets") else values[order]
        for name, values in case.inputs.items()
    }
    mixed["history"] = case.inputs["history"].take(order)
    mixed["scores"] = {name: score[order] for name, score in case.inputs["scores"].items()}
    return select(**mixed, budget=case.budget, method=case.method, seed=case.seed, **case.options)


@examples
def test_counts_are_exact_nobody_is_chosen_twice_and_the_order_of_rows_does_not_matter(num_examples: int) -> None:
    @settings(max_examples=num_examples, deadline=None)
    @given(case=cases())
    def holds(case: Case) -> None:
        num_rows = len(case.inputs["ids"])
        chosen = run(case, np.arange(num_rows))

        eligible = np.ones(num_rows, dtype=bool)
        chooser = selector[case.method]()
        if case.method == "sequential":
            eligible = case.inputs["arrived"] == case.inputs["arrived"].max(initial=0)
        elif isinstance(chooser, Restricting):
            eligible = chooser.eligible(gather(case.inputs["ids"], case.inputs, case.seed, needs=INPUTS)[0])
        assert len(chosen.indices) == len(set(chosen.ids)) == min(case.budget, eligible.sum())
        assert (case.inputs["ids"][chosen.indices] == chosen.ids).all()
        # Samples of cluster -1 are chosen only where there is nobody else.
        unclustered = eligible & (case.inputs["labels"] < 0)
        num_unclustered = int(unclustered[chosen.indices].sum())
        assert num_unclustered == max(0, len(chosen.indices) - int((eligible & ~unclustered).sum()))
        assert (chosen.clusters["budget"] <= chosen.clusters["size"]).all()
        if len(chosen.clusters["cluster"]):
            taken = np.bincount(chosen.table["cluster"] + 1, minlength=9)[chosen.clusters["cluster"] + 1]
            assert (taken == chosen.clusters["budget"]).all()

        order = np.random.default_rng(case.seed).permutation(num_rows)
        shuffled = run(case, order)
        assert sorted(order[shuffled.indices]) == chosen.indices.tolist()
        back = np.argsort(shuffled.ids)
        for name in ("cluster", "scorer", "score", "bin", "rank"):
            np.testing.assert_array_equal(shuffled.table[name][back], chosen.table[name])

    holds()


@examples
def test_the_scorer_of_a_cluster_is_the_same_in_other_units(num_examples: int) -> None:
    @settings(max_examples=num_examples, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        exponents=st.tuples(*[st.floats(-6, 6)] * 4),
        shifts=st.tuples(*[st.floats(-1e3, 1e3)] * 4),
        damage=st.sampled_from(["", "nan", "inf", "constant"]),
    )
    def holds(seed: int, exponents: tuple[float, ...], shifts: tuple[float, ...], damage: str) -> None:
        rng = np.random.default_rng(seed)
        num_rows = int(rng.integers(4, 120))
        scores, labels = toy_scores(rng, num_rows, damage), rng.integers(0, 3, num_rows)
        del scores["grand"]
        scores["entropy"] = np.round(scores["entropy"] * 4) if damage != "constant" else np.full(num_rows, 7.0)
        rescaled = {}
        for name, exponent, shift in zip(PAPER_SCORERS, exponents, shifts, strict=True):
            finite = scores[name][np.isfinite(scores[name])]
            factor, spread = 10.0**exponent, float(np.ptp(finite)) if len(finite) else 1.0
            rescaled[name] = factor * scores[name] + shift * factor * spread
        ids = [f"toy/{i:03d}" for i in range(num_rows)]
        first, second = (select(s, labels, ids, num_rows // 3, seed=seed) for s in (scores, rescaled))
        assert first.clusters["scorer"].tolist() == second.clusters["scorer"].tolist()
        assert first.ids.tolist() == second.ids.tolist()

    holds()


@examples
def test_water_filling_is_optimal(num_examples: int) -> None:
    @settings(max_examples=num_examples, deadline=None)
    @given(sizes=st.lists(st.integers(0, 60), max_size=15), budget=st.integers(0, 500), seed=st.integers(0, 9))
    def holds(sizes: list[int], budget: int, seed: int) -> None:
        shares = allocate(sizes, budget, seed=seed)
        assert shares.sum() == min(budget, sum(sizes)) and (shares <= np.array(sizes, dtype=int)).all()
        # Two budgets differ by more than 1 only where the smaller cluster is full.
        for share, size in zip(shares, sizes, strict=True):
            assert share == size or share >= shares.max() - 1
        assert allocate_weighted(sizes, np.ones(len(sizes)), budget, seed=seed).tolist() == shares.tolist()

    holds()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("random_replay", {}),
        ("multitask", {}),
        ("cluster_balanced", {}),
        ("oracle", {}),
        ("semdedup_random", {}),
        ("adapt", {}),
        ("adapt", {"sampling": "random", "choose": "random"}),
        ("adapt", {"choose": "rank_average", "budgets": "proportional"}),
        ("el2n_top", {}),
        ("el2n_ccs", {}),
    ],
)
def test_draws_of_two_steps_overlap_as_chance_says(method: str, options: dict[str, str]) -> None:
    # Nothing to tell the samples apart: equal clusters, constant scores, embeddings at right angles.
    num_rows, budget = 240, 60
    inputs: dict[str, Any] = {
        "scores": {name: np.ones(num_rows) for name in SCORERS},
        "labels": np.arange(num_rows) % 4,
        "ids": [f"toy/{i}" for i in range(num_rows)],
        "skills": [f"skill {i % 4}" for i in range(num_rows)],
        "embeddings": np.eye(num_rows),
    }
    draws = [set(select(**inputs, budget=budget, method=method, seed=seed, **options).ids) for seed in range(24)]
    overlaps = [len(first & second) for i, first in enumerate(draws) for second in draws[:i]]
    assert np.mean(overlaps) == pytest.approx(budget**2 / num_rows, rel=0.06)
