"""Progress: the interface through which library code reports what it does; the command line shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol


class Bar(Protocol):
    """One stage under way."""

    def advance(self, count: int = 1) -> None:
        """Report that `count` more items are done."""
        ...

    def beside(self, text: str) -> None:
        """Report in a few words how those are that do the work; they stand beside the counts from now on."""
        ...

    def took(self, seconds: float) -> None:
        """Report the seconds that the stage took in another process, whose messages may arrive late."""
        ...

    def loss(self, step: int, value: float) -> None:
        """Report the training loss that was logged at an optimiser step."""
        ...


class Progress(Protocol):
    """Shows stages and single lines of text."""

    def stage(self, title: str, total: int | None, unit: str = "samples") -> AbstractContextManager[Bar]:
        """Show one stage of `total` items (None: not known) while the block runs."""
        ...

    def note(self, text: str) -> None:
        """Show one line of text."""
        ...


@contextmanager
def in_one(progress: Progress, title: str, total: int, unit: str = "samples") -> Iterator[None]:
    """Show work of which nothing is known until it is done: its title, its items, and then how long it took."""
    with progress.stage(title, total, unit) as bar:
        yield
        bar.advance(total)


class _NoBar:
    def advance(self, count: int = 1) -> None:
        """Do nothing."""

    def beside(self, text: str) -> None:
        """Do nothing."""

    def took(self, seconds: float) -> None:
        """Do nothing."""

    def loss(self, step: int, value: float) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Run the block."""
        yield _NoBar()

    def note(self, text: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Prefixed:
    """Passes everything on to another progress, with a prefix before each title."""

    progress: Progress
    """What shows the stages."""
    prefix: str
    """Text before each title."""

    def stage(self, title: str, total: int | None, unit: str = "samples") -> AbstractContextManager[Bar]:
        """Show the stage, its title prefixed."""
        return self.progress.stage(f"{self.prefix} {title}", total, unit)

    def note(self, text: str) -> None:
        """Show one line of text."""
        self.progress.note(text)
