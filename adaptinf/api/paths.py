"""Paths as callers name them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

PathLike = str | os.PathLike[str]
"""Text or a `Path`."""
PathsLike = PathLike | Sequence[PathLike]
"""One path or several."""


def path_or_none(value: PathLike | None) -> Path | None:
    """Return a path, where there is one."""
    return None if value is None else Path(value)


def text_or_none(value: PathLike | None) -> str | None:
    """Return a path as text, where there is one."""
    return None if value is None else os.fspath(value)


def texts_or_none(value: PathsLike | None) -> str | list[str] | None:
    """Return one path as text, several as a list of texts, where there are any."""
    if value is None or isinstance(value, str | os.PathLike):
        return text_or_none(value)
    return [os.fspath(path) for path in value] or None


def path_tuple(value: PathLike | Iterable[PathLike]) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(value),) if isinstance(value, str | os.PathLike) else tuple(map(Path, value))
