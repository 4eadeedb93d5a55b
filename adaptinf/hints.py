"""What somebody may have meant by a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from adaptinf.errors import ConfigError


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
