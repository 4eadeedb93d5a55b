"""How many samples each step of a stream will measure under `extraction.refresh`: arithmetic, before anything is known.

It is taken that nothing trips, that every step selects its whole budget, and that pruning takes of each age alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

Refresh = Literal["all", "new"] | float | Mapping[Literal["max_age"], int]
"""As `extraction.refresh`."""
CONTROL_ROWS = 256
"""Samples that are measured again in each step only to see how far the model has moved on."""


def expected_rows(num_rows: Sequence[int], cap: int | None, budget: int | None, refresh: Refresh) -> list[int]:
    """Return the samples that each step measures.

    Args:
        num_rows: samples of each dataset.
        cap: samples in the pool after a step; None: all.
        budget: samples that a step selects; None: all of the pool.
        refresh: `extraction.refresh`.
    """
    known, measured = dict[int, float](), list[int]()
    for step, new in enumerate(num_rows):
        old = sum(known.values())
        must = old if budget is None else min(old, budget)
        control = min(old - must, CONTROL_ROWS)
        left = {at: count * (old - must - control) / old for at, count in known.items()} if old else {}
        due = _due(left, refresh, step, refresh_of=old, counted=must + control)
        measured.append(round(new + must + control + sum(due.values())))
        known = {at: count - due[at] for at, count in left.items()}
        known[step] = new + old - sum(known.values())
        total = old + new
        if cap is not None and total > cap:
            known = {at: count * cap / total for at, count in known.items()}
    return measured


def _due(
    left: Mapping[int, float], refresh: Refresh, step: int, *, refresh_of: float, counted: float
) -> dict[int, float]:
    """Return how many samples of each age are measured again, of those that need not be."""
    if refresh == "all":
        return dict(left)
    if refresh == "new":
        return dict.fromkeys(left, 0.0)
    if isinstance(refresh, Mapping):
        return {at: count if step - at > refresh["max_age"] else 0.0 for at, count in left.items()}
    wanted, due = max(0.0, refresh * refresh_of - counted), dict[int, float]()
    for at in sorted(left):
        due[at] = min(left[at], wanted)
        wanted -= due[at]
    return due
