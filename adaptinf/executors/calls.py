"""The shards of one `map`: which one comes next, and which result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

from adaptinf.executors.talking import Message
from adaptinf.words import counted


@dataclass(eq=False)
class Call:
    """One shard, and what became of it so far."""

    number: int
    """Its place among the shards."""
    # Any: a shard is of whatever kind the work takes.
    shard: Any
    """The shard."""
    tries: int = 0
    """Workers that were given it."""
    num_reported: int = 0
    """Items that this try has reported."""


@dataclass(eq=False)
class Queue:
    """Shards that are not taken yet, those that are to be done again, and results that wait for an earlier one."""

    numbered: Iterator[tuple[int, Any]]
    """The shards that nobody has taken, with their numbers."""
    total: int | None = None
    """How many shards there are; None: that shows as they are taken."""
    again: deque[Call] = field(default_factory=deque)
    """Shards whose worker died."""
    done: dict[int, Message] = field(default_factory=dict)
    """Number of a shard -> what its worker said at its end, for results that were not given yet."""
    turn: int = 0
    """Number of the next result."""
    num_taken: int = 0
    """Shards that were taken."""
    is_exhausted: bool = False
    """Whether all were taken."""

    @classmethod
    def of(cls, shards: Iterable[Any]) -> Queue:
        """Return the queue of some shards, which are taken one by one."""
        return cls(enumerate(shards), len(shards) if isinstance(shards, Sized) else None)

    @property
    def is_over(self) -> bool:
        """Whether every result has been given."""
        return self.is_exhausted and self.turn == self.num_taken

    @property
    def waiting(self) -> list[str]:
        """What waits, in words: shards for a worker where their number is known, and results for an earlier one."""
        left = len(self.again) + (0 if self.total is None else self.total - self.num_taken)
        return [
            text
            for count, text in (
                (left, f"{counted(left, 'shard')} to do"),
                (len(self.done), f"{len(self.done):,} done ahead"),
            )
            if count
        ]

    def take(self, ahead: int) -> Call | None:
        """Return what to do next; None: nothing, or results of `ahead` shards wait for an earlier one."""
        if self.again:
            return self.again.popleft()
        if self.is_exhausted or self.num_taken >= self.turn + ahead:
            return None
        item = next(self.numbered, None)
        if item is None:
            self.is_exhausted = True
            return None
        self.num_taken += 1
        return Call(*item)

    def next_result(self) -> Any:
        """Return the next result, or raise what its shard raised."""
        message = self.done.pop(self.turn)
        self.turn += 1
        if message.kind == "failed":
            raise message.value
        return message.value
