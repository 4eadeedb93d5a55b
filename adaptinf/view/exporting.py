"""The explorer as a static folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adaptinf.errors import ConfigError
from adaptinf.runs import Run


@dataclass(frozen=True, kw_only=True)
class WrittenExplorer:
    """A folder that shows a step's pool."""

    folder: Path
    """The folder."""
    line: str
    """What was written, as a sentence."""
    notes: tuple[str, ...] = ()
    """What it lacks, a line each."""


def write_explorer(run: Run, step: int | None, out: Path) -> WrittenExplorer:
    """Write the explorer of a step's pool."""
    raise ConfigError("adaptinf view --export is not finished in this version; use `adaptinf report`")
