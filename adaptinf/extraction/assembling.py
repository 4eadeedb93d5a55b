"""The end of an extraction: one array each comes of the shards, in the caller's order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf import registry, tables
from adaptinf.data import Features
from adaptinf.extraction.planning import Shard
from adaptinf.extraction.shards import SHARDS, ShardSummary, opened, shard_path


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
    vectors = _new_array(out / "vectors.npy", (len(ids), dim))
    embeddings = None
    for shard in shards:
        with opened(shard_path(out / SHARDS, shard.number)) as saved:
            rows = saved["rows"]
            if embeddings is None and saved["embeddings"].shape[1]:
                embeddings = _new_array(out / "embeddings.npy", (len(ids), saved["embeddings"].shape[1]))
            if len(rows) and embeddings is not None:
                vectors[rows], embeddings[rows] = saved["vectors"], saved["embeddings"]
            for name, column in scores.items():
                column[rows] = saved[f"score_{name}"]
    if embeddings is None:
        _new_array(out / "embeddings.npy", (len(ids), 0))
    # An infinite loss is as undefined as a missing one: recorded as NaN, counted, shown.
    scores = {name: np.where(np.isfinite(column), column, np.nan) for name, column in scores.items()}
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
