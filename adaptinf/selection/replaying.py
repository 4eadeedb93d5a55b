"""How methods that choose what to replay divide a budget: they draw the new dataset at random, and choose the rest.

Without `selection.replay_share`, which gives such a method one side only, old and new samples give in proportion to
their numbers, as a uniform draw does on average: so a comparison with random replay is one of what is replayed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adaptinf.arrays.budgets import allocate_weighted
from adaptinf.selection.interface import Candidates


class Sides(NamedTuple):
    """The candidates of the newest dataset and the earlier ones."""

    new: np.ndarray
    """Rows drawn from the newest dataset, uniformly."""
    old: np.ndarray
    """Rows of all candidates of earlier datasets, ascending."""
    num_old: int
    """How many of them the method chooses."""


def divided(candidates: Candidates, budget: int) -> Sides:
    """Return what is drawn of the newest dataset, and how many samples of the others are to be chosen.

    The newest dataset is that of the current step; without one, the one that arrived last.
    """
    assert candidates.arrived is not None
    newest = candidates.current_step
    if newest is None:
        newest = int(candidates.arrived.max(initial=0))
    is_new = candidates.arrived == newest
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    sizes = [len(new), len(old)]
    from_new, from_old = allocate_weighted(sizes, sizes, budget, seed=candidates.seed_for("sides")).tolist()
    drawn = new[np.argsort(candidates.keys("draw")[new], kind="stable")[:from_new]]
    return Sides(drawn, old, from_old)


def uniform(keys: np.ndarray) -> np.ndarray:
    """Return n float64 between 0 and 1, neither included, of n uniform uint64."""
    numbers: np.ndarray = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52
    return numbers


def in_proportion(weights: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return n positions in the order of a draw without replacement, each next one in proportion to the weights.

    Weights of 0 come last. By exponential races (Efraimidis & Spirakis 2006): the smallest -log(u) / w.

    Args:
        weights: n finite numbers, 0 or more.
        keys: n uniform uint64.
    """
    with np.errstate(divide="ignore"):
        times = np.where(weights > 0, -np.log(uniform(keys)) / weights, np.inf)
    order: np.ndarray = np.lexsort((keys, times))
    return order
