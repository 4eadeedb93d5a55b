"""What `adaptinf verify` returns: each damaged file with what it loses and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptinf.runs import Run


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One file or folder of a run that is not as it was written, or is not there."""

    path: Path
    """The file; the folder where all of it is missing."""
    what: str
    """What is wrong with it, as the end of a sentence that begins with the path."""
    loses: str
    """What is lost with it."""
    way_out: str
    """What to do: a command where one makes it again from what is whole, else what to bring back."""
    folder: Path | None = None
    """The folder that is made again as a whole; None: it is not, or the file lies in none."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "path": str(self.path),
            "what": self.what,
            "loses": self.loses,
            "way_out": self.way_out,
            "made_again_with": None if self.folder is None else str(self.folder),
        }


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What reading everything in a run folder has found."""

    folder: Path
    """The run folder."""
    damaged: tuple[Damage, ...]
    """Every damaged or missing file."""
    unlisted: tuple[Path, ...]
    """What no version of adaptinf has written there; nothing reads it."""
    unchecked: tuple[Path, ...]
    """Folders and files that have no checksums, as version 0.1 wrote none."""
    adopted: Mapping[Path, str]
    """Folders whose files were taken as they were -> when (UTC)."""
    linked: Mapping[Path, Path]
    """Links that were followed -> where they lead."""
    made_again: Mapping[Path, tuple[str, ...]]
    """Folders that were made again after a repair -> files that differ from before, none: every byte is the same."""
    removed: tuple[Path, ...]
    """Folders that `repair` has removed, so that `adaptinf run` makes them again."""
    run_command: str
    """The command that makes again what is missing, from what is whole."""
    num_folders: int
    """Folders whose files were compared with their checksums."""
    num_files: int
    """Files that were checked."""
    num_bytes: int
    """Their bytes."""
    seconds: float
    """Duration."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing that can be checked is damaged or missing."""
        return not self.damaged

    def __repr__(self) -> str:
        return f"Verified({str(self.folder)!r}: {len(self.damaged):,} damaged of {self.num_files:,} files)"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "folder": str(self.folder),
            "whole": self.is_whole,
            "damaged": [one.as_json() for one in self.damaged],
            "unlisted": [str(path) for path in self.unlisted],
            "cannot_be_checked": [str(path) for path in self.unchecked],
            "adopted": {str(path): when for path, when in self.adopted.items()},
            "links": {str(path): str(target) for path, target in self.linked.items()},
            "made_again": {str(path): list(names) for path, names in self.made_again.items()},
            "removed": [str(path) for path in self.removed],
            "run_command": self.run_command,
            "folders": self.num_folders,
            "files": self.num_files,
            "bytes": self.num_bytes,
            "seconds": self.seconds,
        }


def run_command(run: Run) -> str:
    """Return the command that makes again what is missing."""
    return f"adaptinf run {shlex.quote(str(run.config_file))} --out {shlex.quote(str(run.folder))}"
