"""The datasets that a folder or a data set of the hub holds: one per subset, entry, subfolder, or group of files."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import string
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from adaptinf.errors import DataError
from adaptinf.sources import hub, remote
from adaptinf.sources.finding import README, entries_of, find_source, is_pattern, is_remote
from adaptinf.sources.folder import DATASET_DICT, STATE, names_of_data_files, subfolders
from adaptinf.sources.manifest import exported_file
from adaptinf.sources.splits import is_split_word, label_of, stem_of
from adaptinf.sources.suffixes import SUFFIXES
from adaptinf.sources.tree import LocalTree, RemoteTree, Tree

TRAIN = "train"
"""The split that is taken where there are several."""
_NUMBER = re.compile(r"[-_.]?\d+([-_]of[-_]\d+)?$")


class Part(NamedTuple):
    """One dataset, as an entry of the stream names it."""

    name: str
    """What it is called where it lies."""
    path: str
    """Path, pattern, address or name of the hub."""
    subset: str | None = None
    """Which subset of it; None: the only one."""
    split: str | None = None
    """Which split; None: the only one."""


def parts_of(path: str) -> list[Part]:
    """Return the datasets of what a user names, each with a split where there are several: train, if there is one.

    Raises:
        DataError: nothing is there, or a part of it cannot be found.
    """
    if is_remote(path):
        system, place = remote.opened_system(path)
        is_folder = not is_pattern(path) and remote.answered(path, lambda: bool(system.isdir(place)))
        tree: Tree | None = RemoteTree(system, place, path.rstrip("/")) if is_folder else None
    else:
        tree = LocalTree(Path(path)) if os.path.isdir(path) else None
    if tree is None and hub.is_hub_name(path) and not os.path.lexists(path):
        return _of_hub(path)
    found = _of_tree(path, tree) if tree is not None else _of_entries(path)
    return [_with_split(part) for part in found or [Part(find_name(path), path)]]


def find_name(path: str) -> str:
    """Return the last part of a path, without suffixes of data files."""
    return stem_of(re.split(r"[/\\]", path.rstrip("/"))[-1])


def _of_hub(path: str) -> list[Part]:
    """Return one dataset per subset that a card describes, its split train or the first one."""
    found = hub.subsets_with_splits(path)
    names = {subset: find_name(path) if len(found) == 1 else subset for subset in found}
    return [
        Part(names[subset], path, subset, TRAIN if TRAIN in splits else next(iter(splits), None))
        for subset, splits in found.items()
    ]


def _of_entries(path: str) -> list[Part]:
    """Return one dataset per entry of a dataset_info.json; none for another file."""
    folder, file = os.path.split(path)
    entries = entries_of(LocalTree(Path(folder))) if file == "dataset_info.json" else None
    return [Part(name, path, name) for name in entries or ()]


def _of_tree(path: str, tree: Tree) -> list[Part]:
    if entries := entries_of(tree):
        return [Part(name, path, name) for name in entries]
    if isinstance(tree, LocalTree) and tree.has(README) and hub.has_subsets(tree.text(README)):
        with suppress(hub.NotResolved):
            return _of_hub(path)
    is_whole = isinstance(tree, LocalTree) and exported_file(tree.root, SUFFIXES) is not None
    if is_whole or tree.has(DATASET_DICT) or tree.has(STATE):
        return []
    names = names_of_data_files(tree)
    folders, own = subfolders(names), [name for name in names if "/" not in name]
    groups = _groups(own)
    if len(folders) + len(groups) < 2 or any(is_split_word(name) for name in folders):
        return []
    return [*(Part(name, path, name) for name in folders), *_of_groups(path, tree, groups, own)]


def _groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Return files by what their names have in common but for the number of a shard; tests are left out."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_NUMBER.sub("", stem_of(name)), []).append(name)
    return {stem: files for stem, files in groups.items() if label_of(files[0]) in (None, TRAIN)} or groups


def _of_groups(path: str, tree: Tree, groups: dict[str, list[str]], names: Sequence[str]) -> list[Part]:
    found = []
    for stem, files in groups.items():
        suffix = files[0].removeprefix(stem_of(files[0]))
        pattern = f"{glob.escape(os.path.commonprefix(files).rstrip(string.digits))}[0-9]*{suffix}"
        if len(files) == 1:
            found.append(Part(find_name(files[0]), f"{tree.name}/{files[0]}"))
        elif sorted(fnmatch.filter(names, pattern)) == sorted(files):
            found.append(Part(stem or find_name(path), f"{glob.escape(tree.name)}/{pattern}"))
        else:
            found += [Part(find_name(file), f"{tree.name}/{file}") for file in files]
    return found


def _with_split(part: Part) -> Part:
    """Return a dataset with the split train, if its files belong to several."""
    if part.split is not None:
        return part
    try:
        find_source(part.path, subset=part.subset)
    except DataError:
        try:
            find_source(part.path, subset=part.subset, split=TRAIN)
        except DataError:
            pass
        else:
            return part._replace(split=TRAIN)
        raise
    return part
