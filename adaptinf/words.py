"""Words that messages share: counts, durations, sizes, and the names that may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from adaptinf.errors import ConfigError


def format_seconds(seconds: float) -> str:
    """Return a duration in words: 8.4 s, 3 min 20 s, 5 h 02 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60):02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 row, 1,200 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_bytes(count: float) -> str:
    """Return bytes in words, in powers of 1000 as disks are sold: 18.4 MB, 2.1 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def known_names(name: object, known: Collection[str]) -> str:
    """Return all known names, the nearest in front: "did you mean 'adapt'? known: adapt, dbp"."""
    near = difflib.get_close_matches(str(name), known, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}known: {', '.join(known) or 'none'}"


def check_name(place: str, value: object, known: Collection[str]) -> None:
    """Refuse the value of a setting that is not one of the known names.

    Raises:
        ConfigError: with place and value, the nearest name and all of them.
    """
    if value not in known:
        raise ConfigError(f"{place}={value!r}: {known_names(value, known)}")
