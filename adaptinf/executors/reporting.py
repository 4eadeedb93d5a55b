"""Items that a shard has done while it is still under way, reported from whatever process works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_on_progress: ContextVar[Callable[[int], None]] = ContextVar("on_progress", default=lambda count: None)


def advanced(count: int) -> None:
    """Report that the work has done `count` more items, from any process."""
    _on_progress.get()(count)


@contextmanager
def reporting(on_progress: Callable[[int], None]) -> Iterator[None]:
    """Call `on_progress` for each `advanced` in the block."""
    token = _on_progress.set(on_progress)
    try:
        yield
    finally:
        _on_progress.reset(token)
