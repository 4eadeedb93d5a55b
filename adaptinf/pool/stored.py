"""Every dataset that has arrived and every sample in it, pruned ones included; `Pool` has only those in the pool.

Shapes: N samples.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.config.schema import folder_list
from adaptinf.data import Sample
from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_file import image_of, is_reference
from adaptinf.pool.merging import DATA_FILE, REPAIRED_FILE
from adaptinf.pool.relocation import Move, moves, relocated
from adaptinf.storage import store, tables, verified

FORMER_NAME = "mended"
"""Former name of repaired rows, as a key of info.json and as the name of their file; such folders are still read."""
_DATASET_FOLDER = re.compile(r"(\d+)-(.+)(?<!\.part)")


@dataclass(frozen=True)
class StoredDataset:
    """One dataset folder, memory-mapped on first access."""

    index: int
    """Number of the step that it arrived at."""
    name: str
    """The source of its samples."""
    folder: Path
    """pool/NN-name."""

    def __reduce__(self) -> tuple[type[StoredDataset], tuple[int, str, Path]]:
        """Pickle the path only; another process maps the files itself."""
        return StoredDataset, (self.index, self.name, self.folder)

    @cached_property
    def table(self) -> pa.Table:
        """All rows; they stay on disk until they are accessed."""
        path = self.folder / DATA_FILE
        # First, because a damaged file can end the process without a word.
        is_whole = verified.check_file(path)
        with tables.as_written(path, "cannot be read"):
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
            if not is_whole:
                verified.once_per_file(path, partial(_check_form, table, self.folder))
        return table

    @cached_property
    def _batches(self) -> tuple[list[pa.RecordBatch], list[int]]:
        batches = self.table.to_batches()
        return batches, [0, *accumulate(batch.num_rows for batch in batches)]

    def sample(self, row: int) -> Sample:
        """Return the sample in a row."""
        batches, starts = self._batches
        number = bisect_right(starts, row) - 1
        with tables.as_written(self.folder / DATA_FILE):
            (found,) = batches[number].slice(row - starts[number], 1).to_pylist()
            sample = self._sample(found)
        for path in found["images"]:
            if not os.path.isabs(path) and not is_reference(path):
                verified.check_file(self.folder / path, folder=self.folder)
        return sample

    def _sample(self, found: dict[str, Any]) -> Sample:
        meta = {key: found["meta"][key] for key in ("skill", "task") if found["meta"][key] is not None}
        return Sample(
            id=found["id"],
            source=found["source"],
            messages=tuple(found["messages"]),
            images=tuple(map(self.image, found["images"])),
            meta={**meta, **json.loads(found["meta"]["extra"] or "{}")},
            # Datasets of earlier versions lack these columns.
            unlearnt=tuple(found.get("unlearnt") or ()),
            tools=tuple(json.loads(found.get("tools") or "[]")),
            tags=tuple(found.get("tags") or ()),
            reductions=tuple(found.get("reductions") or ()),
        )

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """Folders of images that have moved since the dataset arrived."""
        return moves(self.folder.parent)

    def image(self, path: str) -> Path | ImageContent:
        """Return an image of a row: a file, maybe moved, or a copy in the dataset's folder; or a content of its own."""
        return image_of(self.folder, path) if is_reference(path) else self.image_path(path)

    def image_path(self, path: str) -> Path:
        """Return where an image of a row is that is a file: absolute and maybe moved, or in the dataset's folder."""
        return self.folder / relocated(path, self.moves)

    @cached_property
    def skills(self) -> pa.ChunkedArray:
        """The skill of each row; empty text where the data name none."""
        return pc.fill_null(pc.struct_field(self.table["meta"], "skill"), "")

    def skill_counts(self) -> Counter[str]:
        """Return the number of samples of each named skill."""
        counts = self.skills.value_counts().to_pylist()
        return Counter({item["values"]: item["counts"] for item in counts if item["values"]})


def dataset_info(folder: Path) -> dict[str, Any]:
    """Return a dataset's info.json, with former names of its keys replaced by the present ones.

    Raises:
        StoreError: the file is missing or damaged.
    """
    info = tables.read_record(folder / store.INFO, rows=int, rejected=int)
    return {"repaired" if key == FORMER_NAME else key: value for key, value in info.items()}


def image_folders(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the image folders that were named for a dataset, as its info.json has them; none where none were."""
    named = info.get("image_folder")
    return folder_list(named) if named else ()


def _check_form(table: pa.Table, folder: Path) -> None:
    """Check that a dataset without checksums can be read without harm, and that no rows are cut off its end.

    Raises:
        Exception: of any kind.
    """
    table.validate(full=True)
    num_rows = dataset_info(folder)["rows"]
    if table.num_rows != num_rows:
        raise ValueError(f"it has {table.num_rows:,} rows instead of {num_rows:,}")
    for name in ("id", "source"):
        if table.schema.field(name).type != pa.string():
            raise ValueError(f"its column {name!r} is no text")


def repairs(folder: Path, id: str) -> tuple[str, ...]:
    """Return the reader's notes on what it repaired in one sample of a dataset."""
    path = folder / REPAIRED_FILE
    lines = store.read_lines(path if verified.is_there(path) else folder / f"{FORMER_NAME}.jsonl")
    return tuple(note for line in lines if line["id"] == id for note in line["notes"])


def arrival_of(folder: Path) -> tuple[int, str] | None:
    """Return the step and the name of the dataset that a folder of a pool holds; None: it holds none."""
    match = _DATASET_FOLDER.fullmatch(folder.name)
    return (int(match[1]), match[2]) if match else None


def stored_datasets(pool_folder: Path) -> list[StoredDataset]:
    """Return the finished datasets of a pool, in order of arrival."""
    if not pool_folder.is_dir():
        return []
    with os.scandir(pool_folder) as entries:
        # Of a link the file system is asked, which `is_dir` would do with an error where it leads to itself.
        names = [entry.name for entry in entries if (os.path.isdir(entry) if entry.is_symlink() else entry.is_dir())]
    whole = pool_folder.absolute()
    folders = [whole / name for name in sorted(names)]
    named = [(arrival_of(folder), folder) for folder in folders]
    found = [StoredDataset(*arrival, folder) for arrival, folder in named if arrival]
    return sorted(found, key=lambda dataset: dataset.index)
