"""A shard that ends every worker: the error that names it, and the samples in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from adaptinf.errors import StoreError
from adaptinf.words import shortened

NAMED_SAMPLES = 5
"""Samples of a shard that a message names."""


class LostShard(StoreError):
    """A shard that ended each worker that it was given to."""

    # Any: a shard is of whatever kind the work takes.
    def __init__(self, message: str, shard: Any) -> None:
        super().__init__(message)
        self.shard = shard


@contextmanager
def named_losses(ids_of: Callable[[Any], Sequence[str]]) -> Iterator[None]:
    """Name the samples of a shard that is lost in the block.

    Args:
        ids_of: returns the ids of the samples of a shard.
    """
    try:
        yield
    except LostShard as error:
        ids = ids_of(error.shard)
        named = ", ".join(shortened(id) for id in ids[:NAMED_SAMPLES])
        more = f" and {len(ids) - NAMED_SAMPLES:,} more" if len(ids) > NAMED_SAMPLES else ""
        raise LostShard(f"{error}; its samples: {named}{more}", error.shard) from error
