"""Paths as callers name them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]
"""Text or a `Path`."""


def path_or_none(value: PathLike | None) -> Path | None:
    """Return a path, where there is one."""
    return None if value is None else Path(value)


def text_or_none(value: PathLike | None) -> str | None:
    """Return a path as text, where there is one."""
    return None if value is None else os.fspath(value)


def path_tuple(value: PathLike | Iterable[PathLike]) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(value),) if isinstance(value, str | os.PathLike) else tuple(map(Path, value))
