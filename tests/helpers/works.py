"""Work for executors that needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Nothing:
    """Work that opens nothing."""

    @contextmanager
    def open(self) -> Iterator[Nothing]:
        yield self

    def same(self, shard: int) -> int:
        """Return the shard."""
        return shard
