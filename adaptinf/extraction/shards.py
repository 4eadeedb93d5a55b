"""Shards: what some batches gave is safe on disk before the next are measured."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from adaptinf import registry
from adaptinf.data import Features
from adaptinf.errors import StoreError
from adaptinf.extraction.cuts import Shard
from adaptinf.extraction.plan import Plan
from adaptinf.models.refusals import NO_ANSWER
from adaptinf.storage import store, tables, verified

SHARDS = "shards"
"""Folder of the shards, the plan and who makes them, inside the folder of the features; gone when those are whole."""
PLAN_FILE, MAKER_FILE = "plan.parquet", "maker.json"
"""Beside the shards: which samples share a batch; who makes the shards."""
COMPILED = "compiled"
"""Key of the maker's file: whether blocks are compiled, which is found once for all shards."""
COUNTS = ("num_split", "num_tokens", "num_padding")
"""Columns of a shard's file that hold one number."""
_NAME = re.compile(r"shard-(\d+)-(\d+)\.npz")
_OLD_NAME = re.compile(r"shard-(\d+)\.npz")
"""A shard that was cut in advance: its number in the plan (`Plan.old_shards`)."""


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
    """Ids of samples with an image that cannot be opened any more."""
    refused: dict[str, str]
    """Id of each sample that the model cannot use -> why."""
    without_answer: list[int]
    """Rows of samples of which no token of an answer is left."""


class ShardFile(NamedTuple):
    """A finished shard."""

    path: Path
    """Its file."""
    batches: range
    """Numbers of its batches in the plan."""


def shard_path(folder: Path, shard: Shard) -> Path:
    """Return the file of a shard, which is named after its first batch and the one after its last."""
    return folder / f"shard-{shard.start:06d}-{shard.stop:06d}.npz"


def finished_shards(folder: Path, plan: Plan) -> list[ShardFile]:
    """Return the finished shards in a folder, in the order of their batches.

    Raises:
        StoreError: two files hold the same batch, or a file holds batches that the plan does not have.
    """
    found = []
    for path in folder.glob("shard-*.npz"):
        if match := _NAME.fullmatch(path.name):
            found.append(ShardFile(path, range(int(match[1]), int(match[2]))))
        elif match := _OLD_NAME.fullmatch(path.name):
            number = int(match[1])
            found.append(ShardFile(path, plan.old_shards[number] if number < len(plan.old_shards) else range(-1, 0)))
    found.sort(key=lambda file: file.batches.start)
    _check_ranges(found, len(plan.batches))
    return found


def _check_ranges(files: Sequence[ShardFile], num_batches: int) -> None:
    stop = 0
    for file in files:
        if file.batches.start < stop or file.batches.stop > num_batches:
            raise StoreError(f"{file.path} does not fit the plan in its folder; delete it to measure its samples again")
        stop = file.batches.stop


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a finished shard; Any, because numpy's archive has no public type.

    Raises:
        StoreError: the file is damaged.
    """
    verified.check_ordinary(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
            yield saved
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it to have its samples measured again") from error


def write_shard(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write a shard's columns; a file that has its name is whole, also after a power cut."""
    part = store.part_of(path)
    with open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **columns)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def summary_of(columns: Any) -> ShardSummary:
    """Return the summary of a shard's columns (Any: a dictionary or an open file)."""
    numbers = {name: int(columns[name]) for name in COUNTS}
    has_answer, has_vector = columns["has_answer"], np.any(columns["vectors"] != 0, axis=1)
    unreadable = columns["unreadable"].tolist()
    # Shards of version 0.1 have no such column.
    refused = dict(columns["refused"].tolist()) if "refused" in columns else {}
    return ShardSummary(
        num_rows=len(columns["rows"]) + len(unreadable) + len(refused),
        num_without_answer=int((~has_answer).sum()),
        num_without_vector=int((has_answer & ~has_vector).sum()),
        unreadable=unreadable,
        refused=refused,
        without_answer=columns["rows"][~has_answer].tolist(),
        **numbers,
    )


def read_summary(file: ShardFile) -> ShardSummary:
    """Return the summary of a finished shard.

    Raises:
        StoreError: the file is damaged.
    """
    with opened(file.path) as saved:
        return summary_of(saved)


def counts(summaries: list[ShardSummary]) -> dict[str, Any]:
    """Return what all shards together report, for info.json."""
    num_tokens = sum(summary.num_tokens for summary in summaries)
    num_padding = sum(summary.num_padding for summary in summaries)
    unreadable = sorted(name for summary in summaries for name in summary.unreadable)
    no_answer = sum(summary.num_without_answer for summary in summaries)
    no_vector = sum(summary.num_without_vector for summary in summaries)
    refused = sum(len(summary.refused) for summary in summaries)
    return {
        "unscored": no_answer + no_vector + len(unreadable) + refused,
        "no_answer": no_answer,
        "no_vector": no_vector,
        "unreadable": unreadable,
        "refused": refused,
        "batches_split": sum(summary.num_split for summary in summaries),
        "tokens": num_tokens - num_padding,
        "padding": num_padding / num_tokens if num_tokens else 0.0,
    }


UNREADABLE = "an image cannot be opened any more"


def unusable(ids: np.ndarray, summaries: Sequence[ShardSummary]) -> dict[str, str]:
    """Return the id of each sample that cannot be trained on, and why, by id."""
    found = {name: UNREADABLE for summary in summaries for name in summary.unreadable}
    for summary in summaries:
        found |= summary.refused | {str(ids[row]): NO_ANSWER for row in summary.without_answer}
    return dict(sorted(found.items()))


def assemble(
    ids: np.ndarray,
    files: Sequence[ShardFile],
    dim: int,
    out: Path,
    info: dict[str, Any],
    without: dict[str, str],
) -> Features:
    """Copy the shards into one array each in `out`, in the order of `ids`; `without` are the unusable samples."""
    scores = {name: np.full(len(ids), np.nan) for name in registry.scorer.names()}
    vectors = new_array(out / Features.VECTORS, (len(ids), dim))
    embeddings = None
    for file in files:
        with opened(file.path) as saved:
            rows = saved["rows"]
            if embeddings is None and saved["embeddings"].shape[1]:
                embeddings = new_array(out / Features.EMBEDDINGS, (len(ids), saved["embeddings"].shape[1]))
            if len(rows) and embeddings is not None:
                vectors[rows], embeddings[rows] = saved["vectors"], saved["embeddings"]
            for name, column in scores.items():
                column[rows] = saved[f"score_{name}"]
    if embeddings is None:
        new_array(out / Features.EMBEDDINGS, (len(ids), 0))
    # An infinite loss is as undefined as a missing one: recorded as NaN, counted, shown.
    scores = {name: np.where(np.isfinite(column), column, np.nan) for name, column in scores.items()}
    return Features(
        ids=ids,
        vectors=tables.read_array(out / Features.VECTORS),
        embeddings=tables.read_array(out / Features.EMBEDDINGS),
        scores=scores,
        info=info,
        unusable=without,
    )


def new_array(path: Path, shape: tuple[int, int]) -> np.ndarray:
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
