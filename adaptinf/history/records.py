"""The records that `explain` gives: one sample, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adaptinf.data import Sample


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score of the sample."""

    value: float
    """What the model gave; NaN: not measured."""
    quantile: float
    """Share of the cluster's finite values below it, equal ones counting half, 0 to 1; NaN without a value."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """The sample's cluster."""

    cluster: int
    """Its number; -1: unscored."""
    size: int
    """Samples in it."""
    distance: float
    """Euclidean distance to its center; NaN in cluster -1."""
    quantile: float
    """Share of the members that are nearer to the center, equal ones counting half."""


@dataclass(frozen=True, kw_only=True)
class Considered:
    """What selection made of the sample."""

    chosen: bool
    """Whether it was selected."""
    reason: str
    """Why, or why not, in words."""
    method: str
    """Name of the selector."""
    total: int
    """Samples that the step selected."""
    budget: int | None
    """What the sample's cluster gave; None for a method without clusters."""
    scorer: str | None
    """Whose score decided in the cluster."""
    entropies: dict[str, float]
    """Bits of each scorer's histogram in the cluster, the largest of which decides; NaN: too many values missing."""
    score: float | None
    """The sample's value of the score that decided."""
    bin: int | None
    """Its bin; -1: in a tail or without a score; None where there are no bins."""
    bin_size: int | None
    """Members of the cluster in that bin."""
    bin_budget: int | None
    """How many of them were selected."""
    rank: int | None
    """0-based place in the order in which its cluster was sampled."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Why the sample left the pool."""

    similarity: float
    """Cosine with the neighbour; NaN without one."""
    neighbour: str | None
    """The sample it was most like; None: none was compared."""
    neighbour_stayed: bool
    """Whether that one stayed in the pool."""
    neighbour_turns: tuple[tuple[str, str], ...]
    """Its conversation."""
    neighbour_images: tuple[str, ...]
    """Its pictures."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One step of the sample's life."""

    step: int
    """Number of the step."""
    absent: str | None
    """Why it was not in the step's pool; None: it was."""
    scores: dict[str, Score]
    """Every score; none where the method looks at no model."""
    placed: Placed | None
    """Its cluster; None without clusters."""
    considered: Considered | None
    """What selection made of it; None: not that far yet."""
    trained: bool | None
    """Whether the model learnt from it; None: not that far yet."""
    untrained: str | None
    """Why a selected sample taught nothing."""
    pruned: Pruned | None
    """Why it left; None: it stayed, or not that far yet."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """Everything that is known of one sample."""

    id: str
    """Its id."""
    state: str
    """in the pool, pruned, withdrawn or rejected."""
    source: str
    """Its dataset."""
    arrived: int
    """The step at which that came."""
    turns: tuple[tuple[str, str], ...]
    """Role and text of each turn; `<image>` stands for a picture."""
    images: tuple[str, ...]
    """Picture files in order."""
    meta: dict[str, Any]
    """What else the row carried."""
    notes: tuple[str, ...]
    """What the reader repaired, or why it rejected the row."""
    restored_from: int | None
    """First step that finds it again after a pruning."""
    withdrawn_from: int | None
    """First step that its dataset is missing from."""
    steps: tuple[Episode, ...]
    """Every step that has begun since it came."""


def turns_of(sample: Sample) -> tuple[tuple[str, str], ...]:
    """Return role and text of each turn, `<image>` where a picture stands."""
    return tuple(
        (
            turn["role"],
            " ".join("<image>" if block["type"] == "image" else block["text"] or "" for block in turn["content"]),
        )
        for turn in sample.messages
    )
