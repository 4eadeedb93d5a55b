"""Progress on standard error: bars on a terminal, plain lines in a log or a pipe, nothing with --quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from adaptinf.cli.output import say
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.words import escaped, format_rate, format_seconds

SECONDS_BETWEEN_LINES = 15.0
"""A log gets a line this often while a stage runs."""


def make_progress(*, quiet: bool = False) -> Progress:
    """Return the progress for standard error: bars on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() else Lines()


def counts_line(done: int, total: int | None, unit: str, seconds: float) -> str:
    """Return the state of a stage: items done, rate so far, and the time left at that rate."""
    rate = done / max(seconds, 1e-9)
    of_total = "" if total is None else f"/{total:,}"
    left = "" if not total or not rate else f", {format_seconds((total - done) / rate)} left"
    return f"{done:,}{of_total} {_noun(done if total is None else total, unit)} ({format_rate(rate)}{left})"


def summary_line(title: str, done: int, unit: str, seconds: float) -> str:
    """Return the line of a finished stage: its items, seconds and rate."""
    rate = format_rate(done / max(seconds, 1e-9))
    return f"{title}: {done:,} {_noun(done, unit)} in {format_seconds(seconds)} ({rate})"


def _noun(count: int, unit: str) -> str:
    """Return the name of the items, of one item without its `s`."""
    return unit.removesuffix("s") if count == 1 else unit


@dataclass(kw_only=True)
class _Timed:
    """Counts items and measures time."""

    done: int = 0
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    """Seconds of the stage, where another process measured them."""
    said_beside: str = ""
    """What stands beside the counts."""

    def beside(self, text: str) -> None:
        self.said_beside = text

    def counts(self, total: int | None, unit: str, now: float) -> str:
        line = counts_line(self.done, total, unit, now - self.started)
        return f"{line}, {self.said_beside}" if self.said_beside else line

    def took(self, seconds: float) -> None:
        self.seconds = seconds

    def loss(self, step: int, value: float) -> None:
        """Show nothing: the loss stands in the page and in the log of the training."""

    def summary(self, title: str, unit: str) -> str:
        seconds = time.monotonic() - self.started if self.seconds is None else self.seconds
        return summary_line(title, self.done, unit, seconds)


@dataclass
class _LineBar(_Timed):
    """Writes a line every SECONDS_BETWEEN_LINES: title, counts, rate, time left."""

    title: str
    total: int | None
    unit: str
    stream: TextIO
    last_line: float = field(default_factory=time.monotonic)

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.stream.write(escaped(self.line(now)) + "\n")
            self.stream.flush()

    def line(self, now: float) -> str:
        return f"{self.title}: {self.counts(self.total, self.unit, now)}"


@dataclass(frozen=True)
class Lines:
    """Plain lines, for a log or a pipe: one per SECONDS_BETWEEN_LINES while a stage runs, one at its end."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    """Where the lines go."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Show the stage as lines."""
        bar = _LineBar(title, total, unit, self.stream)
        yield bar
        self.note(bar.summary(title, unit))

    def note(self, text: str) -> None:
        """Write one line."""
        self.stream.write(escaped(text) + "\n")
        self.stream.flush()


class Terminal:
    """Bars of `rich`: one per stage, with rate and time left; several stages may run at once."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._num_open = 0

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Show the stage as a bar; a finished one becomes a line above."""
        if self._num_open == 0:
            self._bars = _rich_bars()
            self._bars.start()
        self._num_open += 1
        bar = _RichBar(self._bars, self._bars.add_task(escaped(title), total=total, said=""), total, unit)
        try:
            yield bar
            self.note(bar.summary(title, unit))
        finally:
            self._bars.remove_task(bar.task)
            self._num_open -= 1
            if self._num_open == 0:
                self._bars.stop()

    def note(self, text: str) -> None:
        """Write one line, above the bars if there are any."""
        if self._num_open:
            self._bars.console.print(escaped(text), markup=False, highlight=False)
        else:
            say(text, is_error=True)


def _rich_bars() -> Any:
    """Return the display of the bars; Any, because rich is imported only where standard error is a terminal."""
    from rich import progress
    from rich.console import Console

    columns = (
        # Narrow enough for 80 columns with a million samples; a wider line would be cut within a number.
        progress.TextColumn("{task.description:<20}", markup=False),
        progress.BarColumn(bar_width=10),
        progress.TextColumn("{task.fields[said]}", markup=False),
    )
    # Where standard output is a file, lines on it stay there; on the same terminal they go above the bars.
    is_shared = sys.stdout.isatty()
    return progress.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=is_shared)


@dataclass
class _RichBar(_Timed):
    bars: Any
    task: Any
    total: int | None
    unit: str

    def advance(self, count: int = 1) -> None:
        self.done += count
        said = self.counts(self.total, self.unit, time.monotonic())
        self.bars.update(self.task, completed=self.done, said=said)
