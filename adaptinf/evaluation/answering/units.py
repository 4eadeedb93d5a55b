"""Units of work: items that are answered one after another in one batch, whose places are taken as they become free.

An answer depends, by rounding, on what shares its batch, so a unit is the same in every call and on every executor.

Shapes: N items.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from adaptinf.data import Sample
from adaptinf.evaluation.allowed import right_answer
from adaptinf.models.chat import text_of
from adaptinf.models.decoding import Way
from adaptinf.models.lengths import batches_in_order

BATCHES_IN_A_UNIT = 4
"""Batches' worth of items in one unit, where items can take the places of others."""
ALIKE_CHARACTERS = 64
"""Characters that the items of a skill begin with in common, so that reading them together is worth it."""


class Unit(NamedTuple):
    """Items that are answered by one worker."""

    rows: tuple[int, ...]
    """Their numbers, in the order in which they begin."""
    families: tuple[int, ...]
    """The same number for those that begin alike."""
    width: int
    """Items at once."""
    way: Way
    """How they are decoded."""
    known: frozenset[int] = frozenset()
    """Numbers of those whose answers an earlier call has kept."""


class Plan(NamedTuple):
    """How a model answers all items."""

    units: tuple[Unit, ...]
    """All items, each once."""
    stops_at: tuple[str, ...]
    """The tokens at which answers end."""
    model: str
    """What distinguishes the model and how it answers, as text."""
    info: dict[str, Any]
    """What is recorded about it with the evaluation: engine, decoding, overridden (Any: JSON values)."""


def families_of(items: Sequence[Sample], skills: Sequence[int]) -> np.ndarray:
    """Return N numbers: that of an item's skill if the texts of the skill begin alike, otherwise -1.

    Args:
        items: N test items.
        skills: number of the skill of each.
    """
    found = np.full(len(items), -1, dtype=np.int64)
    skills_N = np.asarray(skills, dtype=np.int64)
    for skill in np.unique(skills_N):
        rows = np.flatnonzero(skills_N == skill)
        if (
            len(rows) > 1
            and len(os.path.commonprefix([text_of(items[row]) for row in rows.tolist()])) >= ALIKE_CHARACTERS
        ):
            found[rows] = skill
    return found


def units_of(
    items: Sequence[Sample],
    limits: Sequence[int],
    lengths: np.ndarray,
    families: np.ndarray,
    *,
    way: Way,
    batch_tokens: int,
    kinds: np.ndarray | None,
) -> Iterator[Unit]:
    """Yield units of all items, the longest first, so that what does not fit into memory shows at once.

    Args:
        items: N test items.
        limits: longest answer to each, in tokens.
        lengths: N estimated numbers of tokens.
        families: N numbers, as `families_of` gives them.
        way: how the model decodes.
        batch_tokens: largest number of tokens in a batch, padding included.
        kinds: as in `batches_in_order`.
    """
    limits_N = np.array(limits, dtype=np.int64)
    same = np.zeros(len(items), np.int64) if kinds is None else kinds
    # Without refilling a batch ends with its longest answer, so items that need about as many tokens share one.
    answers = np.array([0 if way.joins else len(right_answer(item)) for item in items], dtype=np.int64)
    alike = families if way.shares else np.zeros(len(items), np.int64)
    order = np.lexsort((lengths, answers, alike, same, limits_N))[::-1]
    for _, group in groupby(order.tolist(), key=lambda row: (int(limits_N[row]), int(same[row]))):
        batches = list(batches_in_order(lengths, np.array(list(group)), batch_tokens, kinds=kinds))
        at_once = BATCHES_IN_A_UNIT if way.joins else 1
        for start in range(0, len(batches), at_once):
            own = batches[start : start + at_once]
            rows = tuple(row for batch in own for row in batch)
            fitting = batch_tokens // max(1, int(lengths[list(rows)].max()))
            width = max(1, min(fitting, max(map(len, own))))
            yield Unit(rows, tuple(alike[list(rows)].tolist()), width, way)
