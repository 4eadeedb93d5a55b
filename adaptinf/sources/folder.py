"""How a folder is read: by what it says of itself, otherwise as files of one kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from adaptinf.errors import DataError
from adaptinf.sources.manifest import MANIFEST
from adaptinf.sources.splits import of_split
from adaptinf.sources.suffixes import kind_of, known_suffixes
from adaptinf.sources.tree import Tree

DATASET_DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
"""Files of `save_to_disk` of `datasets`: the splits of a folder, the files of one, and its columns."""
_OTHER_FILES = (INFO, "dataset_infos.json")
"""Files that describe a data set of the hub and hold no rows."""
_NUM_LISTED = 10
"""Files or folders that an error message lists at most."""


def data_files(tree: Tree, subset: str | None, split: str | None) -> list[str]:
    """Return the names of a folder's data files: those of `save_to_disk`, otherwise all files of its only kind.

    Raises:
        DataError: there are none, or of several kinds, or it is not clear which are meant.
    """
    if tree.has(DATASET_DICT):
        refuse_subset(subset, tree.name, f"it has a {DATASET_DICT}")
        chosen = _saved_split(tree, split)
        return _saved_files(tree, f"{chosen}/")
    if tree.has(STATE):
        refuse_subset(subset, tree.name, f"it has a {STATE}")
        if split is not None:
            raise DataError(f"{tree.name} is one split, as it has a {STATE}; leave out split")
        return _saved_files(tree, "")
    names = names_of_data_files(tree)
    if MANIFEST in names and len(names) > 1:
        other = next(name for name in names if name != MANIFEST)
        raise DataError(f"{tree.name} holds {other} and a {MANIFEST} that names no data file; name the file")
    below = names if subset is None else [name for name in names if name.startswith(f"{subset.strip('/')}/")]
    if subset is not None and not below:
        raise DataError(f"{tree.name} has no subset {subset!r}; folders with data files: {_listed(subfolders(names))}")
    if subset is not None and tree.has(f"{subset.strip('/')}/{STATE}"):
        return _saved_files(tree, f"{subset.strip('/')}/")
    if not below:
        raise DataError(
            f"folder {tree.name} holds no data file ({known_suffixes()}), found: {_listed(tree.files())}; name the file"
        )
    return of_one_kind(of_split(below, split, tree.name), tree.name)


def names_of_data_files(tree: Tree) -> list[str]:
    """Return the names of all files of a folder whose suffix is that of a data file, but those that describe others."""
    return [name for name in tree.files() if kind_of(name) and name.rpartition("/")[2] not in _OTHER_FILES]


def of_one_kind(names: Sequence[str], where: str) -> list[str]:
    """Return the names of data files, all of one kind.

    Raises:
        DataError: they are of several kinds, which are named; or a file is there compressed and as it is.
    """
    known = set(names)
    twice = next((name for name in names if name.endswith((".gz", ".zst")) and name.rpartition(".")[0] in known), None)
    if twice:
        raise DataError(f"{where} holds {twice} and {twice.rpartition('.')[0]}, the same rows twice; name one of them")
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(str(kind_of(name)), []).append(name)
    if len(kinds) > 1:
        found = ", ".join(f"{len(files)} {kind} ({files[0]})" for kind, files in sorted(kinds.items()))
        raise DataError(
            f"{where} holds files of several kinds: {found}; name a file, or those of one kind as *.{min(kinds)}"
        )
    return list(names)


def subfolders(names: Iterable[str]) -> list[str]:
    """Return the folders directly below the root that files lie in."""
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def refuse_subset(subset: str | None, where: str, reason: str) -> None:
    """Refuse a subset of what has none.

    Raises:
        DataError: one is named.
    """
    if subset is not None:
        raise DataError(f"{where} has no subsets, as {reason}; leave out subset: {subset}")


def refuse_split(split: str | None, where: str) -> None:
    """Refuse a split of one file.

    Raises:
        DataError: one is named.
    """
    if split is not None:
        raise DataError(f"{where} is one file, without splits; leave out split: {split}")


# Any: a value from a file can be of any JSON type.
def json_object(tree: Tree, name: str) -> dict[str, Any]:
    """Return the object in a JSON file of a folder.

    Raises:
        DataError: it holds no JSON object.
    """
    try:
        value = json.loads(tree.text(name))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{tree.name}/{name} cannot be read as JSON ({str(error)[:80]})") from error
    if not isinstance(value, dict):
        raise DataError(f"{tree.name}/{name} holds a {type(value).__name__}, not an object")
    return value


def _saved_split(tree: Tree, split: str | None) -> str:
    splits = json_object(tree, DATASET_DICT).get("splits")
    known = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
    if split is None and len(known) == 1:
        return known[0]
    if split is None:
        raise DataError(f"{tree.name} has the splits {_listed(known)}; name one with split")
    if split not in known:
        raise DataError(f"{tree.name} has no split {split!r}; it has {_listed(known)}")
    return split


def _saved_files(tree: Tree, prefix: str) -> list[str]:
    """Return the Arrow files of one split, in the order of its state.json."""
    listed = json_object(tree, f"{prefix}{STATE}").get("_data_files")
    files = [item.get("filename") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    names = [f"{prefix}{file}" for file in files if isinstance(file, str)]
    if not names:
        raise DataError(f"{tree.name}/{prefix}{STATE} names no data file; save the data set again")
    if missing := [name for name in names if kind_of(name) != "arrow" or not tree.has(name)]:
        raise DataError(f"{tree.name}/{missing[0]} does not exist, but {prefix}{STATE} names it; copy the whole folder")
    return names


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_LISTED:,} more" if len(names) > _NUM_LISTED else ""
    return (", ".join(names[:_NUM_LISTED]) or "none") + more
