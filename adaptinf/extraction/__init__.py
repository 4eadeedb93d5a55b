"""Extraction: one vector, one embedding and all scores for every sample, from the model as it is now."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch

import adaptinf
from adaptinf import registry, store, tables
from adaptinf.config import ExtractionConfig
from adaptinf.data import Features, Sample
from adaptinf.errors import DataError, ModelError, StoreError
from adaptinf.executors import Executor, LocalExecutor
from adaptinf.extraction.batches import Shard, plan_shards
from adaptinf.extraction.measuring import Measured, Meter, meter
from adaptinf.models.lengths import auto_batch_tokens, token_lengths
from adaptinf.models.loading import Learner
from adaptinf.pictures import open_picture
from adaptinf.progress import Progress, Silent

logger = logging.getLogger(__name__)


class ShardSummary(NamedTuple):
    """What a worker reports of one shard."""

    num_rows: int
    num_split: int
    unreadable: list[str]


def extract(
    samples: Sequence[Sample],
    learner: Learner,
    config: ExtractionConfig,
    *,
    out: Path,
    executor: Executor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Measure every sample with the model as it is now, and leave the arrays in the folder `out`.

    Finished shards found in `out` are kept, so a run that was killed goes on. A sample without an answer token, or
    with a picture that cannot be opened any more, is unscored: NaN scores, a zero vector, counted in `info`.

    Args:
        samples: any sequence; rows come out in this order. Ids must be unique.
        learner: the model; with an adapter its gradients are taken, without one those of a virtual adapter.
        config: layers, dim, batch_tokens, embedding_tokens.
        out: folder for shards and arrays; made if missing.
        executor: where shards are worked on; None: this process.
        seed: of the sketch and of virtual adapters.
        progress: where to report.

    Returns:
        Features with N rows; `vectors` N x dim float16 of unit norm, `embeddings` N x H float16, memory-mapped.

    Raises:
        DataError: two samples share an id.
        StoreError: `out` holds shards of another model, adapter or setting.
    """
    out.mkdir(parents=True, exist_ok=True)
    ids = tables.text_array([sample.id for sample in samples])
    if len(set(ids)) < len(ids):
        raise DataError(f"{len(ids) - len(set(ids))} samples share an id with another; ids must be unique")
    batch_tokens = auto_batch_tokens(learner.device) if config.batch_tokens == "auto" else config.batch_tokens
    shards = plan_shards(token_lengths(samples, learner), batch_tokens)
    progress = progress or Silent()
    with meter(learner, config, seed=seed) as ready, progress.stage("extract", len(samples)) as bar:
        maker = _maker(ready, ids, seed, batch_tokens)
        _check_maker(out, maker)
        summaries = []
        work = partial(_measure_shard, meter=ready, samples=samples, out=out)
        for summary in (executor or LocalExecutor()).map(work, shards):
            summaries.append(summary)
            bar.advance(summary.num_rows)
    info = {**maker, **_counts(summaries)}
    return _assemble(ids, shards, ready.dim, out, info)


def _maker(ready: Meter, ids: np.ndarray, seed: int, batch_tokens: int) -> dict[str, Any]:
    """Return who makes these features: what must agree for shards to belong together."""
    return {
        "model": ready.learner.config.path,
        "fingerprint": ready.learner.fingerprint,
        "layers": ready.config.layers,
        "dim": ready.dim,
        "vector": ready.config.vector,
        "embedding_tokens": ready.config.embedding_tokens,
        "adapter": "real" if hasattr(ready.learner.model, "peft_config") else "virtual",
        "scorers": registry.scorer.names(),
        "batch_tokens": batch_tokens,
        "seed": seed,
        "code": adaptinf.__version__,
        "ids": f"{len(ids)} rows, {tables.digest(ids)}",
    }


def _check_maker(out: Path, maker: dict[str, Any]) -> None:
    """Write who makes the features before the first shard, or refuse to go on with somebody else's."""
    path = out / "maker.json"
    if not path.exists():
        store.write_whole(path, maker)
        return
    found = tables.read_json(path)
    differing = [key for key, value in maker.items() if found.get(key) != value]
    if differing:
        key = differing[0]
        raise StoreError(
            f"{out} holds shards made with {key}={found.get(key)!r}, now it is {maker[key]!r}; "
            "delete that folder to extract anew"
        )


def _shard_path(out: Path, number: int) -> Path:
    return out / f"shard-{number:05d}.npz"


def _measure_shard(shard: Shard, *, meter: Meter, samples: Sequence[Sample], out: Path) -> ShardSummary:
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


def _counts(summaries: list[ShardSummary]) -> dict[str, Any]:
    unreadable = sorted(name for summary in summaries for name in summary.unreadable)
    return {"unreadable": unreadable, "batches_split": sum(summary.num_split for summary in summaries)}


def _assemble(ids: np.ndarray, shards: list[Shard], dim: int, out: Path, info: dict[str, Any]) -> Features:
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
