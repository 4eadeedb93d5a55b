"""Round robin: targets take turns, each the candidate that is most like it and left.

Shapes: N candidates, M targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptinf.selection.interface import Candidates
from adaptinf.selection.targets import cosines, units_of

TARGETS_AT_ONCE = 64
"""Targets whose cosines with all candidates are in memory at a time."""


def taking_turns(candidates: Candidates, budget: int) -> np.ndarray:
    """Return the rows that the targets take in turns, each its most similar candidate that is left.

    Turns are in the order of the targets; equal cosines go by the seed. Each target's candidates are sorted once, of
    which no more than the budget are kept: O(M N log N) time, M x budget numbers in memory.
    """
    assert candidates.vectors is not None and candidates.targets is not None
    keys, wanted = candidates.keys("ties"), []
    for start in range(0, len(candidates.targets), TARGETS_AT_ONCE):
        units_MD = units_of(candidates.targets)[start : start + TARGETS_AT_ONCE]
        found_NM = cosines(candidates.vectors, units_MD)
        wanted += [np.lexsort((keys, -column))[:budget].astype(np.int32) for column in found_NM.T]
    return take_turns(wanted, len(candidates), budget)


def take_turns(wanted: Sequence[np.ndarray], num_rows: int, budget: int) -> np.ndarray:
    """Return `budget` different rows: lists of rows take turns, each the first of its own that nobody has taken.

    Every list has at least `budget` rows, most wanted first, so that none runs out before the budget does.
    """
    is_taken, places = np.zeros(num_rows, dtype=bool), [0] * len(wanted)
    rows: list[int] = []
    while len(rows) < budget:
        for number, own in enumerate(wanted[: budget - len(rows)]):
            while is_taken[own[places[number]]]:
                places[number] += 1
            is_taken[own[places[number]]] = True
            rows.append(int(own[places[number]]))
    return np.array(rows, dtype=np.int64)
