"""Shards: what a batch gave lies safe on disk before the next is measured, and one array comes of them in the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch

from adaptinf import registry, store, tables
from adaptinf.data import Features, Sample
from adaptinf.errors import DataError, ModelError, StoreError
from adaptinf.extraction.batches import Shard
from adaptinf.extraction.measuring import Measured, Meter
from adaptinf.pictures import open_picture

logger = logging.getLogger(__name__)


class ShardSummary(NamedTuple):
    """What a worker reports of one shard."""

    num_rows: int
    num_split: int
    unreadable: list[str]


def _shard_path(out: Path, number: int) -> Path:
    return out / f"shard-{number:05d}.npz"


def measure_shard(shard: Shard, *, meter: Meter, samples: Sequence[Sample], out: Path) -> ShardSummary:
    """Measure one shard and write it, unless it is there; a finished shard costs no decoding."""
    path = _shard_path(out, shard.number)
    if not path.exists():
        columns = _measure_batches(shard, meter, samples)
        part = store.part_of(path)
        with open(part, "wb") as file:
            np.savez(file, allow_pickle=False, **columns)
        part.rename(path)
    with _opened(path) as saved:
        return ShardSummary(len(shard.rows), int(saved["num_split"]), saved["unreadable"].tolist())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a finished shard; Any, because numpy's archive has no public type. A damaged one is told by its name."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
            yield saved
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it to have its samples measured again") from error


def _measure_batches(shard: Shard, meter: Meter, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """Return a shard's columns: rows, vectors, embeddings, one column a scorer, and what went wrong."""
    rows: list[int] = []
    measured: list[Measured] = []
    unreadable: list[str] = []
    num_split = 0
    for batch in shard.batches:
        own = [samples[row] for row in batch]
        pictures = [_open_all(sample) for sample in own]
        unreadable += [sample.id for sample, opened in zip(own, pictures, strict=True) if opened is None]
        readable = [
            (row, sample, opened)
            for row, sample, opened in zip(batch, own, pictures, strict=True)
            if opened is not None
        ]
        pieces = _measure_or_split(meter, readable)
        num_split += len(pieces) - 1 if pieces else 0
        rows += [row for row, _, _ in readable]
        measured += pieces
    names = registry.scorer.names()
    scores = {
        f"score_{name}": np.concatenate([registry.scorer[name]()(piece.outcome) for piece in measured] or [np.zeros(0)])
        for name in names
    }
    return {
        "rows": np.array(rows, dtype=np.int64),
        "vectors": _stacked([piece.vectors for piece in measured]),
        "embeddings": _stacked([piece.embeddings for piece in measured]),
        "unreadable": np.array(unreadable, dtype=np.str_),
        "num_split": np.array(num_split),
        **scores,
    }


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.float16) if parts else np.zeros((0, 0), np.float16)


def _open_all(sample: Sample) -> list[Any] | None:
    """Return a sample's pictures; None if one cannot be opened (it could when the dataset was added)."""
    try:
        return [open_picture(path) for path in sample.images]
    except DataError as error:
        logger.warning("%s is unscored: %s", sample.id, error)
        return None


def _measure_or_split(meter: Meter, items: list[Any]) -> list[Measured]:
    """Measure a batch; when memory runs out, measure its halves."""
    if not items:
        return []
    try:
        return [meter.measure([sample for _, sample, _ in items], [pictures for _, _, pictures in items])]
    except torch.OutOfMemoryError as error:
        if len(items) == 1:
            raise ModelError(
                f"{items[0][1].id} alone does not fit into the device's memory; "
                "lower model.max_length, or measure with a smaller extraction.model"
            ) from error
    meter.trace.clear(None)
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return _measure_or_split(meter, items[:middle]) + _measure_or_split(meter, items[middle:])


def counts(summaries: list[ShardSummary]) -> dict[str, Any]:
    """Return what went wrong in all shards together, for info.json."""
    unreadable = sorted(name for summary in summaries for name in summary.unreadable)
    return {"unreadable": unreadable, "batches_split": sum(summary.num_split for summary in summaries)}


def assemble(ids: np.ndarray, shards: list[Shard], dim: int, out: Path, info: dict[str, Any]) -> Features:
    """Copy the shards into one array each, in the order of `ids`, and remove them."""
    scores = {name: np.full(len(ids), np.nan) for name in registry.scorer.names()}
    vectors = _new_array(out / "vectors.npy", (len(ids), dim))
    embeddings = None
    for shard in shards:
        with _opened(_shard_path(out, shard.number)) as saved:
            rows = saved["rows"]
            if embeddings is None and saved["embeddings"].shape[1]:
                embeddings = _new_array(out / "embeddings.npy", (len(ids), saved["embeddings"].shape[1]))
            if len(rows) and embeddings is not None:
                vectors[rows], embeddings[rows] = saved["vectors"], saved["embeddings"]
            for name, column in scores.items():
                column[rows] = saved[f"score_{name}"]
    embeddings = _new_array(out / "embeddings.npy", (len(ids), 0)) if embeddings is None else embeddings
    for path in (*out.glob("shard-*.npz"), out / "maker.json"):
        path.unlink()
    # An infinite loss is as undefined as a missing one: recorded as NaN, counted, shown.
    scores = {name: np.where(np.isfinite(column), column, np.nan) for name, column in scores.items()}
    is_unscored = ~np.any(np.asarray(vectors) != 0, axis=1) if dim else np.zeros(len(ids), bool)
    info = {**info, "unscored": int(is_unscored.sum())}
    return Features(
        ids=ids,
        vectors=tables.read_array(out / "vectors.npy"),
        embeddings=tables.read_array(out / "embeddings.npy"),
        scores=scores,
        info=info,
    )


def _new_array(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return a new .npy file as a writable memory map; its pages reach the disk before the folder gets its name."""
    if 0 in shape:
        tables.write_array(path, np.zeros(shape, np.float16))
        return np.zeros(shape, np.float16)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    # A new mapped file is one hole: on a full disk, writing into it would kill the process. So ask for the room now.
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
