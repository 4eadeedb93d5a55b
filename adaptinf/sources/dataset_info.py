"""LLaMA-Factory's dataset_info.json: the data sets that it describes, each by one entry."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from adaptinf.errors import DataError

FILE_NAME, HUB_NAME, CLOUD_NAME = "file_name", "hf_hub_url", "cloud_file_name"
"""Keys that say where an entry's rows lie: a file or folder beside, a name on the hub, a remote address."""
_PLACES = (FILE_NAME, HUB_NAME, CLOUD_NAME, "ms_hub_url", "om_hub_url", "script_url")
_NUM_LISTED = 10


class Entry(NamedTuple):
    """One data set of a dataset_info.json."""

    name: str
    """Its name there."""
    # Any: a value from a file can be of any JSON type.
    values: Mapping[str, Any]
    """What is said about it: where it lies, formatting, columns, tags."""


def is_dataset_info(content: Mapping[str, Any]) -> bool:
    """Return whether an object is LLaMA-Factory's: entries that each say where rows lie."""
    return bool(content) and all(
        isinstance(entry, dict) and any(place in entry for place in _PLACES) for entry in content.values()
    )


def chosen_entry(content: Mapping[str, Any], subset: str | None, where: str) -> Entry:
    """Return the entry that a subset names, or the only one.

    Raises:
        DataError: there is no such entry, or there are several and none is named.
    """
    names = list(content)
    more = f" and {len(names) - _NUM_LISTED:,} more" if len(names) > _NUM_LISTED else ""
    if subset is None and len(names) > 1:
        raise DataError(f"{where} describes {', '.join(names[:_NUM_LISTED])}{more}; name one with subset")
    name = names[0] if subset is None else subset
    if name not in content:
        near = difflib.get_close_matches(name, names, n=1) or names[:_NUM_LISTED]
        raise DataError(f"{where} has no entry {name!r}; did you mean {' or '.join(near)}?")
    return Entry(name, content[name])


def place_of(entry: Entry, where: str) -> tuple[str, str]:
    """Return the key that says where an entry's rows lie, and its value.

    Raises:
        DataError: it is none that can be read.
    """
    for key in (FILE_NAME, HUB_NAME, CLOUD_NAME):
        if isinstance(value := entry.values.get(key), str):
            return key, value
    found = next(key for key in _PLACES if key in entry.values)
    raise DataError(
        f"{where}: the rows of {entry.name} are named by {found}, which is not read; download them and set {FILE_NAME}"
    )
