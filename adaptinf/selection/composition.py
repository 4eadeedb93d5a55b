"""What the user decides before the method chooses: what is kept, how much is old, what each dataset gives (replay.md).

The result are parts of the pool, each with a share of the budget; a method chooses inside of a part as if it were the
whole pool, and knows of nothing else. Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from adaptinf.arrays.budgets import allocate_weighted, exact_share
from adaptinf.arrays.seeded import derive_seed
from adaptinf.errors import ConfigError
from adaptinf.words import counted

Side = Literal["kept", "new", "old", "pool"]
"""Samples that are kept, of the dataset that arrives, of earlier ones, of both."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some samples of the pool that share a budget."""

    side: Side
    """Which samples."""
    dataset: int | None
    """The step at which the part's one dataset arrived; None: it may have several."""
    rows: np.ndarray
    """Their row numbers, ascending, int64."""
    wanted: int
    """Samples that the settings ask for."""
    budget: int
    """Samples that it can give: the wanted ones, fewer where it has fewer, more where others lack some."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """The parts of a step's selection."""

    parts: tuple[Part, ...]
    """Every part, those first that are preferred; no row is in two of them."""
    old_wanted: int | None
    """Samples of earlier datasets that `selection.replay_share` asks for; None without it."""


def compose(
    arrived: np.ndarray,
    is_kept: np.ndarray,
    budget: int,
    *,
    current_step: int,
    replay_share: float | None = None,
    weights: Mapping[int, float] | None = None,
    seed: int = 0,
) -> Composition:
    """Return how a step's budget is shared before the method chooses; the budgets of the parts sum to at most `budget`.

    Kept samples of the dataset that arrives come first. Of the rest, `replay_share` (rounded, halves up) is for earlier
    datasets; where one side has too few samples the other gives more. Weights multiply the sizes of the datasets that
    share what is for earlier ones, or, without `replay_share`, the whole rest. A dataset of weight 0 gives nothing,
    also where others have too few: then the sum is smaller than `budget`.

    Args:
        arrived: N steps at which the selectable samples joined the pool.
        is_kept: N bools.
        budget: samples to choose.
        current_step: the step that selects.
        replay_share: from 0 to below 1; None: no share is fixed.
        weights: step of arrival -> weight, 0 or more, 1 for one that is missing; None: no dataset has a weight.
        seed: decides which dataset gets a remainder.

    Raises:
        ConfigError: more samples are kept than the budget, or than what the share leaves for the new dataset.
    """
    is_new = arrived == current_step
    first = np.flatnonzero(is_kept & is_new)
    check_kept(len(first), budget, replay_share if (~is_new).any() else None, step=current_step)
    kept = Part(side="kept", dataset=current_step, rows=first, wanted=len(first), budget=len(first))
    parts = [kept] if len(first) else []
    free = ~(is_kept & is_new)
    left = budget - len(first)
    share_out = _Weighted(arrived, weights, derive_seed(seed, "datasets"))
    if replay_share is None:
        parts += share_out.parts("pool", np.flatnonzero(free), left)
        return Composition(parts=tuple(parts) or (kept,), old_wanted=None)
    new, old = np.flatnonzero(free & is_new), share_out.selectable(np.flatnonzero(free & ~is_new))
    wanted = old_samples(replay_share, left)
    from_new = min(left - min(wanted, len(old)), len(new))
    parts.append(Part(side="new", dataset=current_step, rows=new, wanted=left - wanted, budget=from_new))
    parts += share_out.parts("old", old, left - from_new, wanted=wanted)
    return Composition(parts=tuple(parts), old_wanted=wanted)


def old_samples(replay_share: float, budget: int) -> int:
    """Return how many samples of a budget are for earlier datasets."""
    return exact_share(replay_share, budget)


def check_kept(count: int, budget: int, replay_share: float | None, *, step: int) -> None:
    """Refuse more kept samples of a new dataset than a step can train on.

    Raises:
        ConfigError: with both numbers.
    """
    named = f"selection.keep names {counted(count, 'sample')} of the dataset of step {step}, but"
    if count > budget:
        raise ConfigError(f"{named} selection.budget is {budget:,}; raise the budget, or keep fewer")
    limit = budget - old_samples(replay_share or 0.0, budget)
    if count > limit:
        raise ConfigError(
            f"{named} selection.replay_share={replay_share:g} leaves {limit:,} of {budget:,} for it; "
            "lower the share, or keep fewer"
        )


@dataclass(frozen=True)
class _Weighted:
    """Shares a budget among the datasets of some rows, in proportion to weight times size."""

    arrived: np.ndarray
    weights: Mapping[int, float] | None
    seed: int

    def selectable(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of datasets whose weight is not 0."""
        ignored = [step for step, weight in (self.weights or {}).items() if not weight]
        found: np.ndarray = rows[~np.isin(self.arrived[rows], ignored)]
        return found

    # Any: the side is one of `Side`, which a caller of two of them spells.
    def parts(self, side: Any, rows: np.ndarray, budget: int, *, wanted: int | None = None) -> list[Part]:
        """Return the rows as one part, or as one per dataset where datasets have weights.

        `wanted`: what the settings ask of all of them; None: the budget.
        """
        wanted = budget if wanted is None else wanted
        rows = self.selectable(rows)
        if self.weights is None:
            whole = Part(side=side, dataset=None, rows=rows, wanted=wanted, budget=min(budget, len(rows)))
            return [whole]
        steps, sizes = np.unique(self.arrived[rows], return_counts=True)
        weights = np.array([self.weights.get(step, 1.0) for step in steps.tolist()], np.float64)
        shares = sizes * (weights / weights.max(initial=1e-300))
        given = allocate_weighted(sizes, shares, budget, seed=self.seed)
        # As if every dataset were large enough.
        asked = allocate_weighted(np.full(len(steps), wanted), shares, wanted, seed=self.seed)
        own = [rows[self.arrived[rows] == step] for step in steps]
        found = zip(steps.tolist(), own, asked.tolist(), given.tolist(), strict=True)
        return [Part(side=side, dataset=step, rows=those, wanted=ask, budget=give) for step, those, ask, give in found]


def in_rows(composition: Composition, rows: np.ndarray) -> Composition:
    """Return the composition of some rows (ascending) as one of the array that they were taken from."""
    return replace(composition, parts=tuple(replace(part, rows=rows[part.rows]) for part in composition.parts))


def among(composition: Composition, is_in: np.ndarray) -> Composition:
    """Return the composition of an array as one of those of its rows that are in; all rows of its parts are."""
    new_row = np.cumsum(is_in) - 1
    return replace(composition, parts=tuple(replace(part, rows=new_row[part.rows]) for part in composition.parts))
