"""Reasons why a row is rejected: the exception that carries one, and values of the row as it shows them."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN_CHARACTERS = 80
_SHOWN_KEYS = 6


class BadRow(ValueError):
    """A row that cannot become a sample; the message is the reason that is reported."""


def shown(value: object) -> str:
    """Return a value as text for a message, cut to a readable length."""
    text = repr(value[: _SHOWN_CHARACTERS + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def shown_keys(keys: Iterable[object]) -> str:
    """Return the names of keys for a message, cut to a readable length; `none` where there are none."""
    names = [str(key) for key in keys]
    text = ", ".join(names[:_SHOWN_KEYS]) + (", ..." if len(names) > _SHOWN_KEYS else "")
    return (text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...") or "none"
