"""The ways in which prompts are decoded, the fastest first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Way:
    """What is done with the rows of a batch."""

    name: str
    """As it is recorded with an evaluation."""
    together: bool = True
    """Whether prompts share a batch at all."""
    leaves: bool = False
    """Whether a row leaves the batch when it has finished."""
    joins: bool = False
    """Whether waiting prompts take the places of rows that have left."""
    shares: bool = False
    """Whether what prompts begin with in common is read once."""


WAYS = (
    Way(name="refilled, prefixes shared", leaves=True, joins=True, shares=True),
    Way(name="refilled", leaves=True, joins=True),
    Way(name="shrinking", leaves=True),
    Way(name="whole batches"),
    Way(name="one by one", together=False),
)
"""All ways; the last one is right for every model."""
WHOLE, ALONE = WAYS[-2:]
