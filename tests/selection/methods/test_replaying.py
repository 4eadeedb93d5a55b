"""Methods that choose what to replay, against their formulas worked out in the slow and obvious way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from adaptinf.errors import ConfigError, DataError
from adaptinf.selection import History, select
from adaptinf.selection.methods.bandit_replay_like import LOSS
from adaptinf.selection.replaying import in_proportion

NOW = 3


def toy(seed: int, sizes: tuple[int, ...] = (30, 20, 26, 24)) -> dict[str, Any]:
    """Return four datasets, the last of which arrives at step 3, with the losses and the trainings of three steps."""
    rng = np.random.default_rng(seed)
    arrived = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    known = arrived[:, None] <= np.arange(NOW)
    losses = np.where(known & (rng.random(known.shape) < 0.8), rng.random(known.shape), np.nan)
    return {
        "scores": {LOSS: rng.random(len(arrived))},
        "labels": rng.integers(0, 6, len(arrived)),
        "ids": [f"toy/{i:03d}" for i in range(len(arrived))],
        "arrived": arrived,
        "history": History(
            steps=np.arange(NOW), trained=known & (rng.random(known.shape) < 0.3), scores={LOSS: losses}
        ),
    }


@pytest.mark.parametrize("method", ["mssr_like", "sure_like", "bandit_replay_like"])
@pytest.mark.parametrize("budget", [1, 10, 37, 100])
def test_old_and_new_give_as_a_uniform_draw_does_on_average(method: str, budget: int) -> None:
    inputs = toy(1)
    chosen = select(**inputs, budget=budget, method=method, current_step=NOW)
    num_old = int((inputs["arrived"][chosen.indices] < NOW).sum())
    assert abs(num_old - budget * 76 / 100) < 1


@pytest.mark.parametrize("method", ["mssr_like", "sure_like", "bandit_replay_like"])
def test_the_first_step_is_a_uniform_draw(method: str) -> None:
    inputs = toy(0, (40,))
    history = History(steps=np.zeros(0, int), trained=np.zeros((40, 0), bool), scores={LOSS: np.zeros((40, 0))})
    draws = [select(**{**inputs, "history": history}, budget=10, method=method, seed=s).indices for s in range(200)]
    counts = np.bincount(np.concatenate(draws), minlength=40)
    assert abs(counts - 50).max() < 5 * math.sqrt(50)


def test_mssr_draws_in_proportion_to_what_is_forgotten() -> None:
    inputs = toy(2)
    trained, expected = inputs["history"].trained, []
    for row, step in enumerate(inputs["arrived"]):
        if step == NOW:
            continue
        when = [earlier for earlier in range(NOW) if trained[row, earlier]]
        strength = math.exp(-(NOW - when[-1]) / (0.7 * 3.0 ** (len(when) - 1))) if when else 0.0
        expected.append((row, 1 - strength))
    rows, weights = map(np.array, zip(*expected, strict=True))
    options = {"decay_steps": 0.7, "growth": 3.0}
    draws = [select(**inputs, budget=1, method="mssr_like", seed=s, current_step=NOW, **options) for s in range(3000)]
    counts = np.bincount(np.concatenate([draw.indices for draw in draws]), minlength=100)[rows]
    chances = weights / weights.sum() * counts.sum()
    assert (np.abs(counts - chances) < 5 * np.sqrt(chances + 1)).all()
    assert counts[weights < weights.max() / 3].mean() < counts[weights == weights.max()].mean()


def test_sure_replays_the_highest_losses_at_arrival_of_every_earlier_dataset() -> None:
    inputs = toy(3)
    chosen = select(**inputs, budget=40, method="sure_like", current_step=NOW)
    shares = []
    for step in range(NOW):
        members = [row for row in range(100) if inputs["arrived"][row] == step]
        losses = {row: inputs["history"].scores[LOSS][row, step] for row in members}
        taken = [row for row in chosen.indices if row in members]
        highest = sorted(members, key=lambda row: (math.isnan(losses[row]), -losses[row]))[: len(taken)]
        assert sorted(taken) == sorted(highest)
        shares.append(len(taken))
    assert max(shares) - min(shares) <= 1
    assert chosen.table["scorer"].tolist().count(LOSS) == sum(shares)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_the_bandit_gives_clusters_their_share_of_the_boltzmann_distribution(temperature: float) -> None:
    inputs = toy(4, (300, 200, 260, 240))
    chosen = select(**inputs, budget=100, method="bandit_replay_like", current_step=NOW, temperature=temperature)
    rises: dict[int, list[float]] = {}
    for row in range(1000):
        earlier = [loss for loss in inputs["history"].scores[LOSS][row] if not math.isnan(loss)]
        if inputs["arrived"][row] < NOW and earlier:
            rises.setdefault(inputs["labels"][row], []).append(inputs["scores"][LOSS][row] - earlier[-1])
    means = {cluster: sum(values) / len(values) for cluster, values in rises.items()}
    center = sum(means.values()) / len(means)
    spread = math.sqrt(sum((mean - center) ** 2 for mean in means.values()) / len(means))
    weights = {cluster: math.exp((mean - center) / spread / temperature) for cluster, mean in means.items()}
    old = [row for row in chosen.indices if inputs["arrived"][row] < NOW]
    for cluster, weight in weights.items():
        count = sum(inputs["labels"][row] == cluster for row in old)
        assert abs(count - len(old) * weight / sum(weights.values())) < 1, cluster


def test_what_was_never_measured_twice_is_drawn_from_equally() -> None:
    inputs = toy(5, (300, 200, 260, 240))
    inputs["history"].scores[LOSS][:] = np.nan
    chosen = select(**inputs, budget=100, method="bandit_replay_like", current_step=NOW)
    old = inputs["arrived"][chosen.indices] < NOW
    counts = np.bincount(inputs["labels"][chosen.indices[old]], minlength=6)
    assert counts.max() - counts.min() <= 1


def test_a_draw_in_proportion_is_one_without_replacement() -> None:
    weights = np.array([4.0, 2.0, 1.0, 0.0])
    rng = np.random.default_rng(0)
    orders = [tuple(in_proportion(weights, rng.integers(0, 2**64, 4, dtype=np.uint64))) for _ in range(4000)]
    assert {order[3] for order in orders} == {3}
    first = [sum(order[0] == row for order in orders) / 4000 for row in range(3)]
    np.testing.assert_allclose(first, [4 / 7, 2 / 7, 1 / 7], atol=0.03)
    # Of those that begin with the heaviest, two thirds go on with the second.
    after = [order[1] for order in orders if order[0] == 0]
    assert abs(after.count(1) / len(after) - 2 / 3) < 0.04


def test_a_history_without_the_score_that_a_method_chooses_by_is_refused() -> None:
    inputs = toy(6)
    history = History(steps=inputs["history"].steps, trained=inputs["history"].trained, scores={})
    with pytest.raises(ConfigError, match="sure_like needs the score perplexity of earlier steps; give it in history"):
        select(**{**inputs, "history": history}, budget=5, method="sure_like")


def test_a_history_of_another_length_is_refused() -> None:
    inputs = toy(6)
    short = inputs["history"].take(np.arange(5))
    with pytest.raises(DataError, match=r"history.trained has shape \(5, 3\); give one row per sample and column per"):
        select(**{**inputs, "history": short}, budget=5, method="mssr_like")
