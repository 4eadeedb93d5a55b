"""Where shards are worked on. A worker writes its own shard and returns only a small summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from adaptinf.errors import ConfigError

Shard = TypeVar("Shard")
Summary = TypeVar("Summary")


class Executor(Protocol):
    """Maps a function over shards."""

    def map(self, function: Callable[[Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield one summary a shard, in the order of the shards."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalExecutor:
    """This process, one shard after another."""

    def map(self, function: Callable[[Shard], Summary], shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield one summary a shard, in the order of the shards."""
        return map(function, shards)


def make_executor(name: str) -> Executor:
    """Return the executor called `name`.

    Raises:
        ConfigError: no such executor.
    """
    if name != "local":
        raise ConfigError(f"executor={name!r}: known: local")
    return LocalExecutor()
