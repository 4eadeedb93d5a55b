"""Scores `column:NAME` whose column is in none of the data that the next step takes: refused before these are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.data import Features, Rejected, Selection
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats.plain import MEASURED_KEYS
from adaptinf.formats.reading import prepared
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.pool.stored import dataset_info
from adaptinf.registry import dataset_format, selector
from adaptinf.registry.files import origin
from adaptinf.runs import Run
from adaptinf.runs.settings import method_options
from adaptinf.scoring.columns import NumericColumns, column_of, columns_in
from adaptinf.sources import Source, find_source
from adaptinf.sources.finding import is_pattern, is_remote
from adaptinf.sources.keys import lacks_key
from adaptinf.words import known_names, shortened

FIRST_ROWS = 100
"""Rows of a dataset whose keys are looked at."""
SHOWN_DATASETS = 3
"""Datasets that a message names."""
SHOWN_NAME = 80
"""Characters of a column's name that a message shows."""


@dataclass(frozen=True)
class _Keys:
    """What is known of the keys of a dataset's rows."""

    source: Source | None = None
    """Its files; None: its rows are in the pool."""
    found: frozenset[str] = frozenset()
    """Keys that rows have: of rows in the pool all of them, of others those of the first rows."""
    numeric: tuple[str, ...] = ()
    """Those that have a number in most of these rows."""

    def lacks(self, name: str) -> bool:
        """Tell whether no row can have a key."""
        return name not in self.found and (self.source is None or lacks_key(self.source, name))


def problems(config: RunConfig, folder: Path | None) -> list[str]:
    """Return a line per score `column:NAME` that no sample of the next step's pool can have.

    None for a column that may come in a row further down, or in files that are not looked at: `named_columns` of
    `runs/columns.py` refuses it when the rows are in the pool.

    Args:
        config: the settings.
        folder: of the run, if there is one.
    """
    if selector.complaint(config.selection.method):
        return []
    options = method_options(config)
    names = [name for name in columns_in(options.values()) if column_of(name) not in MEASURED_KEYS]
    keys = _keys_of_next(config, folder) if names else None
    if keys is None:
        return []
    return [_line(name, keys) for name in names if all(one.lacks(column_of(name) or "") for one in keys.values())]


def _keys_of_next(config: RunConfig, folder: Path | None) -> dict[str, _Keys] | None:
    """Return the keys of each dataset of the pool of the next step; None: there is no such step, or they are unknown.

    Of a dataset that was withdrawn they are unknown, as the pool may have no samples at all.
    """
    run = None if folder is None else Run(folder=folder, config=config)
    withdrawn = {} if run is None else withdrawn_datasets(run.pool_folder)
    found = {}
    for step, dataset in enumerate(config.stream):
        stored = None if run is None else run.dataset_folder(step)
        is_stored = stored is not None and stored.exists()
        keys = _keys_in_pool(stored) if stored is not None and is_stored else _keys_in_files(dataset)
        if keys is None or dataset.name in withdrawn:
            return None
        found[dataset.name] = keys
        if run is None or not (run.has(step, Features) or run.has(step, Selection)):
            return found
    return None


def _line(name: str, keys: Mapping[str, _Keys]) -> str:
    datasets = [shortened(dataset, SHOWN_NAME) for dataset in keys]
    more = f" and {len(datasets) - SHOWN_DATASETS:,} more" if len(datasets) > SHOWN_DATASETS else ""
    known = dict.fromkeys(column for one in keys.values() for column in one.numeric)
    where = ", ".join(datasets[:SHOWN_DATASETS]) + more
    nearest = known_names(column_of(name) or "", known)
    return f"selection names {shortened(name, SHOWN_NAME)}, but no row of {where} has that column; {nearest}"


def _keys_in_pool(folder: Path) -> _Keys | None:
    info = dataset_info(folder)
    unread = info.get("unread")
    return None if unread is None or not info["rows"] else _Keys(found=frozenset(unread), numeric=tuple(unread))


def _keys_in_files(dataset: DatasetConfig) -> _Keys | None:
    """Return the keys of the rows of local files; None where they cannot be known in a moment."""
    path = dataset.path
    formats = [dataset.format] if dataset.format else dataset_format.names()
    if is_remote(path) or not (os.path.lexists(path) or is_pattern(path)):
        return None
    if any(origin(dataset_format.get(name)) for name in formats):
        return None  # a format of the user's may make keys that are in no file
    try:
        source = find_source(path, subset=dataset.subset, split=dataset.split)
        return None if any(shard.is_remote for shard in source.shards) else _first_keys(dataset, source)
    except (DataError, ConfigError):  # which reading all rows reports
        return None


def _first_keys(dataset: DatasetConfig, source: Source) -> _Keys | None:
    """Return the keys of the first rows; None where none of them can be used.

    Raises:
        DataError: the files cannot be read.
        ConfigError: there is no such format, or columns are named as well.
    """
    reading = prepared(source, dataset.format, dataset.images, columns=dataset.columns, check_images=False)
    numbers, found = NumericColumns(), set[str]()
    for sample in islice(reading.samples(), FIRST_ROWS):
        if not isinstance(sample, Rejected):
            found.update(sample.meta)
            numbers.add(sample.meta)
    numeric = tuple(column.name for column in numbers.qualifying())
    return _Keys(source, frozenset(found), numeric) if numbers.num_rows else None
