"""Classes of tables that `datasets` wrote: a column of numbers whose names stand in the metadata of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

# Any in this module: a value from a file can be of any type.

Renaming = Callable[[Any], Any]
_METADATA = b"huggingface"
"""Where `datasets` describes the columns, in the metadata of an Arrow schema."""


def label_names(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Renaming]:
    """Return what puts names in place of numbers, for each column with a `ClassLabel` in it; nothing for the others.

    A number without a name stays as it is.
    """
    described = (metadata or {}).get(_METADATA)
    return {} if described is None else _renamings(described)


@lru_cache(maxsize=64)
def _renamings(described: bytes) -> Mapping[str, Renaming]:
    try:
        features = json.loads(described)["info"]["features"]
        found = {str(name): _renaming(feature) for name, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: renaming for name, renaming in found.items() if renaming is not None}


def _renaming(feature: Any) -> Renaming | None:
    """Return what puts names into a value of a column that is described so; None: there are none."""
    if isinstance(feature, list):
        return _each(_renaming(feature[0])) if feature else None
    if not isinstance(feature, dict):
        return None
    kind = feature.get("_type")
    if kind == "ClassLabel":
        names = feature.get("names")
        return _named(names) if isinstance(names, list) else None
    if kind in ("List", "LargeList", "Sequence"):
        return _each(_renaming(feature.get("feature")))
    if kind is not None:
        return None
    inner = {key: renaming for key, value in feature.items() if (renaming := _renaming(value)) is not None}
    return _under(inner) if inner else None


def _named(names: list[Any]) -> Renaming:
    known = dict(enumerate(names))
    return lambda value: known.get(value, value)


def _each(renaming: Renaming | None) -> Renaming | None:
    """Return a renaming of the items of a list; of an object of lists, which a list of objects may be, of theirs."""
    if renaming is None:
        return None
    return lambda value: [renaming(item) for item in value] if isinstance(value, list) else renaming(value)


def _under(inner: Mapping[str, Renaming]) -> Renaming:
    def rename(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: inner[key](item) if key in inner else item for key, item in value.items()}

    return rename
