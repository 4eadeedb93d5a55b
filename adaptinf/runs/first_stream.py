"""A stream made of what a folder, an address or a data set of the hub holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptinf.config import DatasetConfig, RunConfig, resolve_dataset
from adaptinf.runs.stream import MAX_NAME, name_from
from adaptinf.sources.parts import Part, parts_of


def stream_of(path: str) -> list[DatasetConfig]:
    """Return one dataset per subset, entry of a dataset_info.json, subfolder, or group of files.

    Paths are absolute, names valid and different. Where files belong to several splits, that of `train` is taken.

    Raises:
        DataError: nothing is there, or a part of it cannot be found.
    """
    names: set[str] = set()
    return [_dataset(part, names) for part in parts_of(path)]


def with_stream(config: RunConfig, stream: Sequence[DatasetConfig]) -> RunConfig:
    """Return the settings with another stream."""
    return config.model_copy(update={"stream": list(stream)})


def _dataset(part: Part, names: set[str]) -> DatasetConfig:
    """Return one dataset of the stream. Adds its name to `names`."""
    first = name = name_from(part.name).removesuffix(".part") or "dataset"
    number = 1
    # Folders of the pool may lie on a disk that does not tell capitals from small letters.
    while name.lower() in names:
        number += 1
        name = f"{first[: MAX_NAME - len(str(number)) - 1]}-{number}"
    names.add(name.lower())
    dataset = DatasetConfig(name=name, path=part.path, subset=part.subset, split=part.split)
    return resolve_dataset(dataset, Path.cwd())
