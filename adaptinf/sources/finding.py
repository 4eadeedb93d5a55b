"""From what a user named to the files that hold its rows."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptinf.config import SourceConfig
from adaptinf.errors import DataError
from adaptinf.sources import dataset_info, hub, remote
from adaptinf.sources.folder import INFO, STATE, data_files, json_object, of_one_kind, refuse_split, refuse_subset
from adaptinf.sources.kinds import columns_of
from adaptinf.sources.manifest import exported_file
from adaptinf.sources.source import Columns, Shard, Source
from adaptinf.sources.splits import of_split
from adaptinf.sources.suffixes import SUFFIXES, kind_of, known_suffixes
from adaptinf.sources.tree import LocalTree, RemoteTree, Tree, as_shard
from adaptinf.storage.paths import why_no_file

_ESCAPED = re.compile(r"\[([*?[])\]")
README = "README.md"
"""Card of a data set of the hub, which may say which files its subsets have."""


def find_source(path: str | Path, *, subset: str | None = None, split: str | None = None) -> Source:
    """Return the files that a path stands for.

    The path is that of a file or folder, a pattern such as `data/*.parquet`, an address that fsspec opens, or the name
    of a data set of the hub; a file or folder of the same name comes first.

    Args:
        path: what the user named.
        subset: which of several configurations, subfolders, or entries of a dataset_info.json; None: the only one.
        split: which of several splits; None: the only one.

    Raises:
        DataError: nothing is there, no file has a known suffix, or it is not clear which files are meant.
    """
    text = str(path).removeprefix("file://")
    if not text:
        raise DataError("the path of a dataset is empty; name a file, a folder, an address or a name of the hub")
    found = _found(text, subset, split)
    return replace(found, path=str(path), shards=_with_columns(found.shards))


def source_problem(config: SourceConfig) -> str | None:
    """Return why the rows of a dataset cannot be found; None: their files are there, or will be asked for again."""
    try:
        find_source(config.path, subset=config.subset, split=config.split)
    except DataError as error:
        return str(error)
    return None


def is_remote(path: str) -> bool:
    """Return whether a path is an address that fsspec opens."""
    return "://" in path and not path.startswith("file://")


def is_pattern(path: str) -> bool:
    """Return whether a path stands for all files that match it."""
    return glob.has_magic(path)


def _found(path: str, subset: str | None, split: str | None) -> Source:
    if is_remote(path):
        return _at_address(path, subset, split)
    if os.path.isdir(path):
        return _in_folder(LocalTree(Path(path)), subset, split)
    if is_pattern(path) and not os.path.lexists(path):
        return _matching(path, subset, split)
    if not os.path.lexists(path) and hub.is_hub_name(path):
        return _of_files(path, hub.hub_files(path, subset, split))
    return _one_file(Path(path), subset, split)


def _one_file(path: Path, subset: str | None, split: str | None) -> Source:
    if problem := why_no_file(path):
        raise DataError(f"{path} {problem}")
    if kind_of(path.name) is None:
        raise DataError(f"{path} ends in {path.suffix or 'nothing'!r}; a dataset is a {known_suffixes()} file")
    if path.name == INFO and (content := entries_of(LocalTree(path.parent))) is not None:
        return _entry(LocalTree(path.parent), content, subset, split)
    refuse_subset(subset, str(path), "it is one file")
    refuse_split(split, str(path))
    return Source(path=str(path), shards=(as_shard(os.path.abspath(path), str(path)),), folder=path.parent)


def _in_folder(tree: Tree, subset: str | None, split: str | None) -> Source:
    if isinstance(tree, LocalTree) and (exported := exported_file(tree.root, SUFFIXES)):
        return _described(_one_file(exported, subset, split), tree)
    if (content := entries_of(tree)) is not None:
        return _entry(tree, content, subset, split)
    if isinstance(tree, LocalTree) and tree.has(README) and hub.has_subsets(tree.text(README)):
        with suppress(hub.NotResolved):
            return _of_files(tree.name, hub.described_files(tree.name, subset, split))
    return _as_source(tree, data_files(tree, subset, split))


def _as_source(tree: Tree, names: Sequence[str]) -> Source:
    return Source(path=tree.name, shards=tuple(map(tree.shard, names)), folder=tree.folder(names))


def _matching(pattern: str, subset: str | None, split: str | None) -> Source:
    refuse_subset(subset, pattern, "it is a pattern")
    found = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name) and kind_of(name))
    if not found:
        raise DataError(f"no data file ({known_suffixes()}) matches {pattern}")
    # The folder above the first part with a wildcard: image paths are relative to it.
    root = _above(pattern)
    names = [os.path.relpath(name, root) for name in found]
    chosen = of_one_kind(of_split(names, split, pattern), pattern)
    return _as_source(LocalTree(root), chosen)


def _above(pattern: str) -> Path:
    """Return the folder above the first part of a pattern with a wildcard; one in brackets stands for itself."""
    parts = []
    for part in Path(pattern).parts:
        if glob.has_magic(_ESCAPED.sub("", part)):
            break
        parts.append(_ESCAPED.sub(lambda found: found[1], part))
    return Path(*parts)


def _at_address(address: str, subset: str | None, split: str | None) -> Source:
    system, path = remote.opened_system(address)
    return remote.answered(address, lambda: _in_system(system, path, address, subset, split))


# Any: fsspec has no types.
def _in_system(system: Any, path: str, address: str, subset: str | None, split: str | None) -> Source:
    if is_pattern(address):
        refuse_subset(subset, address, "it is a pattern")
        names = of_split(sorted(name for name in system.glob(path) if kind_of(name)), split, address)
        if not names:
            raise DataError(f"no data file ({known_suffixes()}) matches {address}")
        return _of_files(address, [str(system.unstrip_protocol(name)) for name in names])
    if system.isdir(path) and not system.isfile(path):
        return _in_folder(RemoteTree(system, path, address.rstrip("/")), subset, split)
    if not system.isfile(path):
        raise DataError(f"{address} does not exist")
    if kind_of(address) is None:
        raise DataError(f"{address} is no data file ({known_suffixes()})")
    refuse_subset(subset, address, "it is one file")
    refuse_split(split, address)
    return _of_files(address, [address])


def _of_files(path: str, addresses: Sequence[str]) -> Source:
    """Return a source of files that are named one by one: remote ones, or local ones by absolute paths."""
    known = of_one_kind([name for name in addresses if kind_of(name)], path)
    if not known:
        raise DataError(f"{path} has no data file ({known_suffixes()}) but {', '.join(addresses[:3]) or 'none'}")
    folder = Path(os.path.commonpath(list(map(os.path.dirname, known)))) if not is_remote(known[0]) else None
    return Source(path=path, shards=tuple(as_shard(name, name) for name in known), folder=folder)


# Any: a value from a file can be of any JSON type.
def entries_of(tree: Tree) -> Mapping[str, Any] | None:
    """Return the content of a folder's dataset_info.json if it is LLaMA-Factory's."""
    if not tree.has(INFO) or tree.has(STATE):
        return None
    content = json_object(tree, INFO)
    return content if dataset_info.is_dataset_info(content) else None


def _entry(tree: Tree, content: Mapping[str, Any], subset: str | None, split: str | None) -> Source:
    """Return the files of one entry of a dataset_info.json, with what it says about them."""
    where = f"{tree.name}/{INFO}"
    entry = dataset_info.chosen_entry(content, subset, where)
    key, place = dataset_info.place_of(entry, where)
    inner, split = entry.values.get("subset"), split or entry.values.get("split")
    if key == dataset_info.HUB_NAME:
        found = _of_files(place, hub.hub_files(place, inner, split))
    elif key == dataset_info.CLOUD_NAME:
        found = _found(place, inner, split)
    else:
        found = _beside(tree, place, split, f"{where}, entry {entry.name}")
    return replace(found, path=where, description=entry.values)


def _beside(tree: Tree, place: str, split: str | None, where: str) -> Source:
    """Return the file or folder that an entry of a dataset_info.json names, relative to its folder."""
    if isinstance(tree, RemoteTree):
        return _found(f"{tree.name}/{place}", None, split)
    assert isinstance(tree, LocalTree)
    path = tree.root / place
    if not path.exists():
        raise DataError(f"{where}: {path} does not exist; correct file_name")
    return _found(str(path), None, split if path.is_dir() else None)


def _described(found: Source, tree: Tree) -> Source:
    """Return a source with what the only entry of a dataset_info.json beside its file says about it."""
    content = entries_of(tree) or {}
    entries = [
        entry
        for entry in content.values()
        if entry.get(dataset_info.FILE_NAME) == os.path.basename(found.shards[0].url)
    ]
    return replace(found, description=entries[0]) if len(entries) == 1 else found


def _with_columns(shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
    """Return shards that know the columns of the first one, which all must have; JSON has none."""
    if len(shards) < 2 or (schema := columns_of(shards[0])) is None:
        return shards
    columns = Columns(schema, shards[0].name)
    return tuple(replace(shard, columns=columns) for shard in shards)
