"""Shards: what some batches gave lies safe on disk before the next are measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from zipfile import BadZipFile

import numpy as np

from adaptinf import registry
from adaptinf.data import Features, Sample
from adaptinf.errors import ModelError, StoreError
from adaptinf.extraction.batches import Prepared, Preparer
from adaptinf.extraction.meter import Measured, Meter
from adaptinf.extraction.plan import Shard
from adaptinf.models.memory import is_out_of_memory, release
from adaptinf.storage import store, tables


class ShardSummary(NamedTuple):
    """What is reported of one shard."""

    num_rows: int
    num_without_answer: int
    """Samples of which no token of an answer is left."""
    num_without_vector: int
    """Samples with an answer, but a gradient that is zero or not finite."""
    num_split: int
    """Times that a batch was cut in two because memory ran out."""
    num_tokens: int
    """Tokens that the model saw, padding included."""
    num_padding: int
    unreadable: list[str]


SHARDS = "shards"
"""Folder of the shards, the plan and who makes them, inside the folder of the features; gone when those are whole."""
COUNTS = ("num_split", "num_tokens", "num_padding")
"""Columns of a shard's file that hold one number."""


def shard_path(out: Path, number: int) -> Path:
    """Return the file of a shard."""
    return out / f"shard-{number:05d}.npz"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a finished shard; Any, because numpy's archive has no public type. A damaged one is told by its name."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
            yield saved
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it to have its samples measured again") from error


class ShardWorker:
    """Measures shards one after another; each is written in the background while the next is measured."""

    def __init__(self, meter: Meter, samples: Sequence[Sample], out: Path) -> None:
        self._meter, self._out = meter, out
        self._preparer = Preparer(meter.learner, samples, image=meter.config.image)
        self._writer = ThreadPoolExecutor(1, "write")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._preparer:
            self._writer.shutdown(wait=True)
        if error is None:
            self._written()

    def __call__(self, shard: Shard) -> ShardSummary:
        """Measure one shard and have it written, unless it is there; a finished shard costs no decoding."""
        path = shard_path(self._out, shard.number)
        if path.exists():
            with opened(path) as saved:
                return _summary(shard, saved)
        columns = _measure_batches(shard, self._meter, self._preparer)
        # One write at a time on its way: a kill loses what was measured since the last write began, a shard at most,
        # and the moment that the write takes.
        self._written()
        self._writing = self._writer.submit(_write, path, columns)
        return _summary(shard, columns)

    def _written(self) -> None:
        """Wait for the shard that is being written; an error of the disk comes up here."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None


def _write(path: Path, columns: dict[str, np.ndarray]) -> None:
    part = store.part_of(path)
    with open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **columns)
        # Here it costs nobody time; a shard that has its name is whole even after a power cut.
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _summary(shard: Shard, columns: Any) -> ShardSummary:
    numbers = {name: int(columns[name]) for name in COUNTS}
    has_answer, has_vector = columns["has_answer"], np.any(columns["vectors"] != 0, axis=1)
    return ShardSummary(
        num_rows=len(shard.rows),
        num_without_answer=int((~has_answer).sum()),
        num_without_vector=int((has_answer & ~has_vector).sum()),
        unreadable=columns["unreadable"].tolist(),
        **numbers,
    )


def _measure_batches(shard: Shard, meter: Meter, preparer: Preparer) -> dict[str, np.ndarray]:
    """Return a shard's columns: rows, vectors, embeddings, one column a scorer, and what went wrong."""
    rows: list[int] = []
    unreadable: list[str] = []
    measured: list[Measured] = []
    num_split = 0
    for prepared in preparer.prepared(shard.batches):
        pieces = _measure_or_split(meter, preparer, prepared)
        num_split += max(0, len(pieces) - 1)
        rows += prepared.rows
        unreadable += prepared.unreadable
        measured += pieces
    scores = {
        f"score_{name}": np.concatenate([make()(piece.outcome) for piece in measured] or [np.zeros(0)])
        for name, make in ((name, registry.scorer[name]) for name in registry.scorer.names())
    }
    return {
        "rows": np.array(rows, dtype=np.int64),
        "vectors": _stacked([piece.vectors for piece in measured]),
        "embeddings": _stacked([piece.embeddings for piece in measured]),
        "has_answer": np.concatenate([piece.has_answer for piece in measured] or [np.zeros(0, dtype=bool)]),
        "unreadable": np.array(unreadable, dtype=np.str_),
        "num_split": np.array(num_split),
        "num_tokens": np.array(sum(piece.num_tokens for piece in measured)),
        "num_padding": np.array(sum(piece.num_padding for piece in measured)),
        **scores,
    }


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.float16) if parts else np.zeros((0, 0), np.float16)


def _measure_or_split(meter: Meter, preparer: Preparer, prepared: Prepared) -> list[Measured]:
    """Measure a batch; when memory runs out, measure its halves."""
    if not prepared.rows:
        return []
    try:
        return [meter.measure(prepared)]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(prepared.rows) == 1:
            raise ModelError(
                f"{prepared.ids[0]} alone does not fit into the device's memory; "
                "lower model.max_length, or measure with a smaller extraction.model"
            ) from error
    meter.trace.clear(None)
    release()
    middle = len(prepared.rows) // 2
    halves = preparer.prepared([prepared.rows[:middle], prepared.rows[middle:]])
    return [piece for half in halves for piece in _measure_or_split(meter, preparer, half)]


def counts(summaries: list[ShardSummary]) -> dict[str, Any]:
    """Return what all shards together report, for info.json."""
    num_tokens = sum(summary.num_tokens for summary in summaries)
    num_padding = sum(summary.num_padding for summary in summaries)
    unreadable = sorted(name for summary in summaries for name in summary.unreadable)
    no_answer = sum(summary.num_without_answer for summary in summaries)
    no_vector = sum(summary.num_without_vector for summary in summaries)
    return {
        "unscored": no_answer + no_vector + len(unreadable),
        "no_answer": no_answer,
        "no_vector": no_vector,
        "unreadable": unreadable,
        "batches_split": sum(summary.num_split for summary in summaries),
        "tokens": num_tokens - num_padding,
        "padding": num_padding / num_tokens if num_tokens else 0.0,
    }


def assemble(ids: np.ndarray, shards: list[Shard], dim: int, out: Path, info: dict[str, Any]) -> Features:
    """Copy the shards, which lie in `out / SHARDS`, into one array each in `out`, in the order of `ids`."""
    scores = {name: np.full(len(ids), np.nan) for name in registry.scorer.names()}
    vectors = _new_array(out / Features.VECTORS, (len(ids), dim))
    embeddings = None
    for shard in shards:
        with opened(shard_path(out / SHARDS, shard.number)) as saved:
            rows = saved["rows"]
            if embeddings is None and saved["embeddings"].shape[1]:
                embeddings = _new_array(out / Features.EMBEDDINGS, (len(ids), saved["embeddings"].shape[1]))
            if len(rows) and embeddings is not None:
                vectors[rows], embeddings[rows] = saved["vectors"], saved["embeddings"]
            for name, column in scores.items():
                column[rows] = saved[f"score_{name}"]
    if embeddings is None:
        _new_array(out / Features.EMBEDDINGS, (len(ids), 0))
    # An infinite loss is as undefined as a missing one: recorded as NaN, counted, shown.
    scores = {name: np.where(np.isfinite(column), column, np.nan) for name, column in scores.items()}
    return Features(
        ids=ids,
        vectors=tables.read_array(out / Features.VECTORS),
        embeddings=tables.read_array(out / Features.EMBEDDINGS),
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
