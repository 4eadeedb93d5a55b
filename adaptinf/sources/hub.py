"""Data sets of the Hugging Face hub by name: the files of a subset and a split, as `datasets` resolves them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from adaptinf.errors import DataError
from adaptinf.sources.remote import unreachable
from adaptinf.sources.suffixes import kind_of

HUB_SECONDS = 10.0
"""How long the hub may take to answer the first question."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILES_KEYS = {"data_files", "data_dir"}
_NUM_LISTED = 10


class NotResolved(DataError):
    """`datasets` finds no data files: in a folder, maybe because only a part of a data set was copied."""


def is_hub_name(path: str) -> bool:
    """Return whether a path can be the name of a data set of the hub: `name` or `owner/name`, no file's."""
    return _NAME.fullmatch(path) is not None and kind_of(path) is None and ".." not in path


def hub_files(name: str, subset: str | None, split: str | None) -> list[str]:
    """Return the addresses hf://datasets/NAME@COMMIT/FILE of a data set of the hub, at its present commit.

    Raises:
        DataError: the hub does not answer, has no such data set, or it is not clear which subset or split is meant.
    """
    return described_files(name, subset, split, _commit(name))


def described_files(path: str, subset: str | None, split: str | None, commit: str | None = None) -> list[str]:
    """Return the data files of one subset and split, of a data set of the hub or of a folder with a README like one.

    Raises:
        DataError: it is not clear which are meant, a script would be needed, or the hub does not answer.
    """
    chosen = _chosen_subset(path, subset, _subsets(path, commit))
    files = _files(path, chosen, commit)
    return files[_chosen_split(f"{path} ({chosen})", split, list(files))]


def subsets_with_splits(path: str) -> dict[str, list[str]]:
    """Return the subsets of a data set of the hub, or of a folder with a README like one, each with its splits.

    Raises:
        DataError: the hub does not answer, or has no such data set.
    """
    commit = None if os.path.isdir(path) else _commit(path)
    return {subset: list(_files(path, subset, commit)) for subset in _subsets(path, commit)}


def _subsets(path: str, commit: str | None) -> list[str]:
    # A second to import.
    import datasets

    with _one_line(path):
        return list(datasets.get_dataset_config_names(path, revision=commit))


def _files(path: str, subset: str, commit: str | None) -> dict[str, list[str]]:
    """Return the files of each split of a subset."""
    import datasets

    with _one_line(path):
        builder = datasets.load_dataset_builder(path, subset, revision=commit)
        found: Mapping[str, Sequence[str]] = builder.config.data_files or {}
    return {str(split): [str(file) for file in files] for split, files in found.items()}


@contextmanager
def _one_line(path: str) -> Iterator[None]:
    """Turn what `datasets` raises into one line.

    Raises:
        DataError: there are no data files, a script would be needed, or the hub does not answer.
    """
    try:
        yield
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        raise NotResolved(
            f"{path} has no data files that can be found: {' '.join(str(error).split())[:200]}"
        ) from error
    except Exception as error:  # of the libraries that `datasets` asks the network with
        raise unreachable(f"data set {path}", error) from error


def _commit(name: str) -> str:
    """Return the present commit of a data set, so that all of its files are of one version."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        return str(HfApi().dataset_info(name, timeout=HUB_SECONDS).sha)
    except RepositoryNotFoundError as error:
        raise DataError(
            f"{name} is no file or folder, nor a data set of the hub that you may read; correct the path, or log in"
        ) from error
    except HfHubHTTPError as error:
        raise unreachable(f"hub data set {name}", error) from error
    except Exception as error:  # of the library that huggingface_hub asks the network with
        raise DataError(
            f"{name} is no file or folder, and the hub cannot be asked for a data set of that name "
            f"({type(error).__name__}); correct the path, or download the data set where there is a network"
        ) from error


def _chosen_subset(path: str, subset: str | None, known: Sequence[str]) -> str:
    if subset is not None:
        if subset in known:
            return subset
        near = difflib.get_close_matches(subset, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {_listed(known)}"
        raise DataError(f"{path} has no subset {subset!r}; {hint}")
    if len(known) > 1 and "default" not in known:
        raise DataError(f"{path} has the subsets {_listed(known)}; name one with subset")
    return "default" if "default" in known else known[0]


def _chosen_split(where: str, split: str | None, known: Sequence[str]) -> str:
    if split in known:
        return str(split)
    if split is not None:
        raise DataError(f"{where} has no split {split!r}; it has {_listed(known)}")
    if len(known) != 1:
        raise DataError(f"{where} has the splits {_listed(known)}; name one with split")
    return known[0]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_LISTED:,} more" if len(names) > _NUM_LISTED else ""
    return (", ".join(names[:_NUM_LISTED]) or "none") + more


def has_subsets(readme: str) -> bool:
    """Return whether a README begins with YAML that names data files of configurations."""
    import yaml

    if not readme.startswith("---"):
        return False
    try:
        # Any: YAML can hold anything.
        card: Any = yaml.safe_load(readme[3:].partition("\n---")[0])
    except yaml.YAMLError:
        return False
    configs = card.get("configs") if isinstance(card, dict) else None
    return isinstance(configs, list) and any(isinstance(item, dict) and item.keys() & _FILES_KEYS for item in configs)
