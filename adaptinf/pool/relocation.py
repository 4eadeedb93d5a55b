"""Images of a pool that have moved: each move is a line of pool/relocated.jsonl, and datasets stay as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adaptinf.errors import StoreError
from adaptinf.storage import store

RELOCATED = "relocated.jsonl"


class Move(NamedTuple):
    """A folder of images that has another place now."""

    old: str
    """Where it was when the move was recorded, absolute."""
    new: str
    """Where it is since, absolute."""

    def applied(self, path: str) -> str:
        """Return the path after the move; one that is not below `old` stays as it is."""
        if path == self.old:
            return self.new
        root = self.old.rstrip(os.sep) + os.sep
        return os.path.join(self.new, path[len(root) :]) if path.startswith(root) else path


def moves(pool_folder: Path) -> tuple[Move, ...]:
    """Return what has moved, in order: each is applied to what the earlier ones give.

    Raises:
        StoreError: a line is damaged.
    """
    path = pool_folder / RELOCATED
    return tuple(_move(path, line) for line in store.read_lines(path))


def _move(path: Path, line: dict[str, object]) -> Move:
    old, new = line.get("old"), line.get("new")
    if not isinstance(old, str) or not isinstance(new, str):
        raise StoreError(
            f'{path} has a line that is not {{"old": ..., "new": ...}}: {str(line)[:80]}; correct or delete the line'
        )
    return Move(old, new)


def note_move(pool_folder: Path, move: Move) -> None:
    """Record that a folder of images has moved."""
    store.append_line(pool_folder / RELOCATED, move._asdict())


def relocated(path: str, moved: Sequence[Move]) -> str:
    """Return where an image is now; the path of a copy, which is relative to its dataset's folder, stays."""
    if os.path.isabs(path):
        for move in moved:
            path = move.applied(path)
    return path
