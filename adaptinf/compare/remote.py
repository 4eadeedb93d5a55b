"""Progress of worker processes: a worker sends its messages through a queue, and the parent process shows them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adaptinf.progress import Bar, Progress


class Remote:
    """The progress of a worker: sends every message to the parent process through a queue."""

    def __init__(self, queue: Any, name: str) -> None:
        """`queue` is a multiprocessing queue; `name` precedes every title."""
        self.queue, self.name = queue, name

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Send the start of the stage, its progress, and its end with its seconds."""
        started = time.monotonic()
        self.queue.put(("begin", self.name, (f"{self.name}: {title}", total, unit)))
        yield _RemoteBar(self)
        self.queue.put(("end", self.name, time.monotonic() - started))

    def note(self, text: str) -> None:
        """Send one line."""
        self.queue.put(("note", self.name, f"{self.name}: {text}"))


@dataclass(frozen=True)
class _RemoteBar:
    remote: Remote

    def advance(self, count: int = 1) -> None:
        self.remote.queue.put(("advance", self.remote.name, count))

    def beside(self, text: str) -> None:
        self.remote.queue.put(("beside", self.remote.name, text))

    def took(self, seconds: float) -> None:
        """Do nothing: `stage` measures the seconds itself."""

    def loss(self, step: int, value: float) -> None:
        """Do nothing: each run keeps its own losses."""


class Relay:
    """Shows the messages that `Remote`s in other processes send."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._open: dict[str, tuple[Any, Bar]] = {}

    def show(self, message: tuple[str, str, Any]) -> None:
        """Show one message of the queue."""
        kind, name, value = message
        if kind == "note":
            self.progress.note(value)
        elif kind == "begin":
            context = self.progress.stage(*value)
            self._open[name] = (context, context.__enter__())
        elif kind == "advance":
            self._open[name][1].advance(value)
        elif kind == "beside":
            self._open[name][1].beside(value)
        else:
            context, bar = self._open.pop(name)
            bar.took(value)
            context.__exit__(None, None, None)

    def close(self) -> None:
        """Close every open stage, for workers that failed."""
        for context, _ in self._open.values():
            context.__exit__(None, None, None)
        self._open.clear()
