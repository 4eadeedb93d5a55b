"""Durations as users write them: 30m, 12h, 1h30m."""

from __future__ import annotations

import re

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Letter -> seconds."""
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
MAX_SECONDS = 366 * UNITS["d"]
"""A year: more is a slip, and some systems cannot wait for longer."""


def seconds_of(text: str) -> float:
    """Return the seconds in a duration such as 45s, 30m, 12h or 1h30m.

    Raises:
        ValueError: it is none, is zero, or more than a year.
    """
    compact = "".join(text.lower().split())
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError("must be a duration with its unit, such as 45s, 30m, 12h or 1h30m")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("must be more than 0s and at most 366d")
    return seconds
