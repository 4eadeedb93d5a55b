"""Seeded hashes and orders: the same seed and id give the same number, for any row order, sharding or machine.

Nothing here has state, and no module of the package calls a global random generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import xxhash

from adaptinf.errors import DataError
from adaptinf.storage.tables import text_array

LONGEST_WORDS = 16
"""Ids of up to 16 words of 8 bytes are sorted as numbers."""


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for one purpose, named by words and numbers: (run seed, stage, step)."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return xxhash.xxh3_64_intdigest(text.encode()) >> 1


def hash_ids(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return one uint64 per id, independent of any seed."""
    return np.fromiter(map(xxhash.xxh3_64_intdigest, map(str.encode, map(str, ids))), np.uint64, len(ids))


def seeded_keys(hashes: np.ndarray, seed: int, *names: str | int) -> np.ndarray:
    """Return one uniform uint64 per hash, different for every seed and purpose (finaliser of splitmix64)."""
    keys = hashes ^ np.uint64(derive_seed(seed, *names))
    with np.errstate(over="ignore"):
        keys = (keys + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def number_keys(count: int, seed: int, *names: str | int) -> np.ndarray:
    """Return one uniform uint64 for each number 0..count-1: a seeded order of clusters or bins."""
    return seeded_keys(np.arange(count, dtype=np.uint64), seed, *names)


def id_order(ids: np.ndarray) -> np.ndarray:
    """Return the row numbers that put N ids in ascending order; cheap if they are already in order.

    Raises:
        DataError: an id occurs twice.
    """
    if _ascending(ids):
        return np.arange(len(ids))
    order = _text_order(ids)
    ordered = ids[order]
    repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(repeated):
        raise DataError(f"id {ordered[repeated[0]]!r} occurs twice; give every row an id of its own")
    return order


def _text_order(ids: np.ndarray) -> np.ndarray:
    """Return the row numbers that put N texts in ascending order; equal texts keep their order.

    Texts are compared as numbers of eight bytes of UTF-8, which have the order of the texts: three times faster than
    comparing objects.
    """
    texts = pa.array(ids, type=pa.large_string())
    _, offsets, data = texts.buffers()
    lengths_N = np.diff(np.frombuffer(offsets, dtype=np.int64)[: len(ids) + 1])
    num_words = -(-int(lengths_N.max()) // 8)
    if num_words > LONGEST_WORDS:  # padding to the longest would take too much memory
        return np.array(sorted(range(len(ids)), key=ids.tolist().__getitem__), dtype=np.int64)

    padded = np.zeros((len(ids), 8 * num_words), dtype=np.uint8)
    padded[np.arange(8 * num_words) < lengths_N[:, None]] = np.frombuffer(data, np.uint8)[: int(lengths_N.sum())]
    words = padded.view(">u8").astype(np.uint64)
    # The length distinguishes a text from the same text followed by zero bytes; lexsort expects the main key last.
    return np.lexsort([lengths_N, *words.T[::-1]])


def _ascending(ids: np.ndarray) -> bool:
    """Return whether every id is larger than the one before; fast if the first thousand are not in order."""
    first = ids[:1000]
    return bool((first[:-1] < first[1:]).all() and (ids[:-1] < ids[1:]).all())


def checked_ids(ids: Sequence[str] | np.ndarray, num_rows: int, what: str) -> np.ndarray:
    """Return the ids as an object array of `str`, one for each of the `num_rows` rows of `what`.

    Raises:
        DataError: there are more or fewer ids than rows.
    """
    if len(ids) != num_rows:
        raise DataError(f"{len(ids)} ids for {num_rows} rows of {what}; give one id per row")
    return text_array(ids)
