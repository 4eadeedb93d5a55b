"""What the dispatcher and its workers say to each other, whatever kind of worker it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

SILENT = "said nothing for"
"""How the end of a worker begins that was ended for its silence."""


def is_silence(how: str) -> bool:
    """Tell whether a worker ended because it was silent for longer than `worker_timeout`."""
    return how.startswith(SILENT)


def perhaps(how: str) -> str:
    """Return why a worker may have ended, as the end of a sentence that says how."""
    return ", and may need longer than worker_timeout" if is_silence(how) else ", perhaps for lack of memory"


class Message(NamedTuple):
    """What a worker says."""

    kind: Literal["ready", "done", "failed", "progress", "died"]
    """The work is open; a shard is done; opening or a shard raised; items are done; the worker is gone."""
    # Any: a result is of whatever kind the function returns.
    value: Any = None
    """The result, the exception, the number of items, or how the worker ended."""
    num_items: int = 0
    """Items of a finished shard that were not reported before."""


class Worker(Protocol):
    """One process or actor that work is done in."""

    def begin(self, parcel: bytes) -> None:
        """Have it open packed work; it answers `ready` or `failed`."""
        ...

    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> None:
        """Have it call a function on a shard; it answers `done` or `failed`, and may say `progress` before."""
        ...

    def finish(self) -> None:
        """Have it close its work, and wait until it has."""
        ...

    def end(self) -> None:
        """End it, whatever it does; it may have ended before."""
        ...


W = TypeVar("W", bound=Worker)


class WorkerKind(Protocol[W]):
    """How workers of one kind are started and heard."""

    def start(self, number: int) -> W:
        """Start worker `number`, which counts from 0, in the place of one that died if there was one."""
        ...

    def hear(self, workers: Sequence[W], seconds: float | None) -> list[tuple[W, Message]]:
        """Wait until some workers have said something, at most so many seconds, and return what."""
        ...
