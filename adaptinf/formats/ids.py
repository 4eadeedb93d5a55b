"""Ids of samples: the row's own, else its number, and another one where an earlier row has it already."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash

from adaptinf.formats.conversation import ID_KEYS
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.words import escaped, has_controls

REPEATED_ID = "repeated id"
"""Start of the note on a sample whose id an earlier row has."""
# Digits of a row number that replaces a missing id: 000042.
_ID_DIGITS = 6


class OwnId(NamedTuple):
    """What a row says about its id."""

    id: str
    """The id; empty where the row has none."""
    others: dict[str, Any]
    """The row's other keys."""


def own_id(meta: Mapping[str, Any]) -> OwnId:
    """Return a row's id as text, and its meta without it.

    Raises:
        BadRow: the id is neither text nor a number.
    """
    others = dict(meta)
    for key in ID_KEYS:
        value = others.get(key)
        if value is None or value == "":
            others.pop(key, None)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            return OwnId(str(others.pop(key)), others)
        else:
            raise BadRow(f"{key} is {shown(value)}, neither text nor a number")
    return OwnId("", others)


def as_line(id: str) -> str:
    r"""Return an id as one line of text, as lists of ids have one per line: a line break in it becomes `\n`."""
    return escaped(id) if has_controls(id) else id


# Any: a value from a file can be of any JSON type.
def intended_id(value: Any) -> str:
    """Return the id that a rejected row would have, as far as it can be read; empty where it has none."""
    try:
        return as_line(own_id(value if isinstance(value, dict) else {}).id)
    except BadRow:
        return ""


def numbered(number: int) -> str:
    """Return the id of a row that has none."""
    return f"{number:0{_ID_DIGITS}d}"


def repeated(own: str, free: str) -> str:
    """Return the note on a sample that got another id than its own."""
    return f"{REPEATED_ID} {shown(own)}: became {shown(free)}"


class Claims:
    """Gives every row an id that no earlier row has, one after another: `a`, `a~2`, `a~3`."""

    def __init__(self, is_taken: Callable[[str], bool] = lambda id: False) -> None:
        """`is_taken` tells of further ids whether they are in use."""
        self._is_taken = is_taken
        self._copies: dict[str, int] = {}
        """Ids in use, each with the number of its last copy."""

    def claim(self, own: str) -> str:
        """Return the id of a row."""
        # Counting resumes at the last copy, so that a file with one id for all rows takes linear time.
        free, copy = own, self._copies.get(own, 1)
        while free in self._copies or (free != own and self._is_taken(free)):
            copy += 1
            free = f"{own}~{copy}"
        self._copies[free] = 1
        self._copies[own] = copy
        return free


class Hashes:
    """The ids of all rows, eight bytes each; equal ids have equal hashes."""

    def __init__(self) -> None:
        """Begin without a row."""
        self._parts: list[np.ndarray] = []

    def add(self, ids: Sequence[str]) -> None:
        """Add the ids of further rows, in order."""
        digest = xxhash.xxh3_64_intdigest
        self._parts.append(np.fromiter((digest(id.encode()) for id in ids), np.uint64, len(ids)))

    def repeats(self, ids_at: Callable[[np.ndarray], list[str]]) -> dict[int, str]:
        """Return row -> its id, of the rows whose own id an earlier row has; the others keep theirs.

        The ids are those that `Claims` gives one row after another. Only rows that share an id are looked at.

        Args:
            ids_at: returns the own ids of some rows, which ascend.
        """
        hashes = np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint64)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_same = ordered[1:] == ordered[:-1]
        in_doubt = np.zeros(len(hashes), dtype=bool)
        in_doubt[order[1:][is_same]] = in_doubt[order[:-1][is_same]] = True
        rows = np.flatnonzero(in_doubt)
        waiting = list(zip(rows.tolist(), ids_at(rows) if len(rows) else [], strict=True))

        now = -1

        def is_taken(id: str) -> bool:
            """Tell whether an earlier row has an id; a later one that has it comes into doubt."""
            value = np.uint64(xxhash.xxh3_64_intdigest(id.encode()))
            place = int(np.searchsorted(ordered, value))
            # One row at most, or rows that are in doubt already.
            row = int(order[place]) if place < len(ordered) and ordered[place] == value else None
            if row is None or in_doubt[row] or ids_at(np.array([row])) != [id]:
                return False
            if row > now:
                in_doubt[row] = True
                heapq.heappush(waiting, (row, id))
            return row < now

        found: dict[int, str] = {}
        claims = Claims(is_taken)
        while waiting:
            now, own = heapq.heappop(waiting)
            free = claims.claim(own)
            if free != own:
                found[now] = free
        return found
