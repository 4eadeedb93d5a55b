"""Which split a file of a folder belongs to, by its name, as `datasets` reads names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from adaptinf.errors import DataError
from adaptinf.sources.suffixes import kind_of

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Split -> words of a file's or folder's name that say so (those of `datasets.data_files`)."""
_NUM_LISTED = 10
# As in testset, traindata.
_ENDING = re.compile("(set|data|split)$")
_SHARD_NUMBER = r"-\d{5}-of-\d{5}"


def of_split(names: Sequence[str], split: str | None, where: str) -> list[str]:
    """Return the files of a split, or all where none is named and they do not belong to several.

    Raises:
        DataError: no file belongs to the split, or it is not clear which one is meant.
    """
    if split is not None:
        named = [name for name in names if _is_named(name, split)]
        found = named or [name for name in names if label_of(name) == _called(split)]
        if not found:
            raise DataError(f"{where} has no split {split!r}; {_known(names)}")
        return found
    labels = {label_of(name) for name in names}
    if len(labels) > 1 and labels - {None, "train"}:
        raise DataError(f"{where} has files of several splits ({_known(names)}); name one with split")
    return list(names)


def _is_named(name: str, split: str) -> bool:
    """Return whether a folder above a file has the split's name, or the file itself, before the number of a shard."""
    *folders, last = name.split("/")
    return split in folders or re.fullmatch(rf"{re.escape(split)}({_SHARD_NUMBER})?", stem_of(last)) is not None


def stem_of(file_name: str) -> str:
    """Return the name of a data file without the suffixes of its kind and compression."""
    stem = file_name
    while kind_of(stem) is not None or stem.lower().endswith((".gz", ".zst")):
        stem = stem.rpartition(".")[0]
    return stem


def label_of(name: str) -> str | None:
    """Return the split that the last part of a path with such a word names; None where no part does."""
    *folders, last = name.split("/")
    for part in (stem_of(last), *reversed(folders)):
        words = [word for word in re.split(r"[-._ 0-9]+", part.lower()) if word]
        for split, known in SPLIT_WORDS.items():
            if any(word in known or _ENDING.sub("", word) in known for word in words):
                return split
    return None


def _called(split: str) -> str:
    """Return the name of a split that a word such as `val` stands for, or the word itself."""
    return next((name for name, words in SPLIT_WORDS.items() if split.lower() in words), split)


def is_split_word(name: str) -> bool:
    """Return whether a folder's whole name is a word for a split."""
    return any(name.lower() in words for words in SPLIT_WORDS.values())


def _known(names: Iterable[str]) -> str:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(label_of(name) or "no split", name)
    return "; ".join(f"{label}: {name}" for label, name in list(sorted(first.items()))[:_NUM_LISTED])
