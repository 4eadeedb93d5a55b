"""A part of a source's rows, drawn at random: the same rows for the same seed, in whatever order shards are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from adaptinf.arrays.seeded import number_keys
from adaptinf.config import SourceConfig
from adaptinf.errors import ConfigError
from adaptinf.sources.finding import find_source
from adaptinf.sources.kinds import count_rows
from adaptinf.sources.source import Source


def chosen_source(config: SourceConfig, *, seed: int) -> Source:
    """Return the files of a dataset of the configuration, and of their rows those that `max_rows` leaves.

    Raises:
        DataError: as `find_source`.
    """
    return drawn(find_source(config.path, subset=config.subset, split=config.split), config.max_rows, seed=seed)


def drawn(source: Source, max_rows: int | None, *, seed: int) -> Source:
    """Return a source with so many of its rows; None: with as many as its entry of a dataset_info.json says, or all.

    Raises:
        ConfigError: fewer than one row is asked for.
    """
    if max_rows is not None and max_rows < 1:
        raise ConfigError(f"max_rows={max_rows}: at least 1 row is read; leave it out for all rows")
    described = (source.description or {}).get("num_samples")
    most = max_rows or (described if isinstance(described, int) and described > 0 else None)
    return source if most is None else sampled(source, most, seed=seed)


def sampled(source: Source, max_rows: int, *, seed: int) -> Source:
    """Return a source with exactly min(max_rows, rows) of its rows, in their order; shards without one are left out.

    All shards are counted first: Parquet by its footers, other kinds by reading them once.
    """
    rows = chosen_rows(source, max_rows, seed=seed)
    shards = [replace(shard, members=rows[shard.name]) for shard in source.shards if len(rows[shard.name])]
    return replace(source, shards=tuple(shards))


def chosen_rows(source: Source, max_rows: int, *, seed: int) -> Mapping[str, np.ndarray]:
    """Return the numbers of the chosen rows per shard's name, ascending (int64).

    Every row has a random key that depends on the seed, the shard's name below the folder, and its number; the rows of
    the smallest keys are chosen.
    """
    top = os.path.commonpath([os.path.dirname(shard.name) for shard in source.shards])
    keys = {}
    for shard in source.shards:
        name = os.path.relpath(shard.name, top)
        keys[shard.name] = number_keys(count_rows(shard), seed, "max_rows", name)
    every = np.concatenate(list(keys.values()))
    if len(every) <= max_rows:
        return {name: np.arange(len(own), dtype=np.int64) for name, own in keys.items()}
    largest = np.partition(every, max_rows - 1)[max_rows - 1]
    return {name: np.flatnonzero(own <= largest) for name, own in keys.items()}
