"""Rows in another order: the same numbers, in memory or in a temporary file without a name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptinf.arrays import mapped, tiles
from adaptinf.arrays.mapped import taken
from adaptinf.errors import StoreError
from adaptinf.selection import select

ROWS = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float16)
ORDER = np.random.default_rng(1).permutation(50)[:40]


def test_few_rows_are_held_in_memory() -> None:
    assert not isinstance(taken(ROWS, ORDER), np.memmap)
    np.testing.assert_array_equal(taken(ROWS, ORDER), ROWS[ORDER])


def test_many_rows_lie_in_a_file_that_leaves_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mapped, "COPY_BYTES", 100)
    monkeypatch.setattr(tiles, "BLOCK_BYTES", 50)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for source in (ROWS, ROWS.T[:, :30].T, np.asfortranarray(ROWS)):
        found = taken(source, ORDER[ORDER < len(source)])
        assert isinstance(found, np.memmap) and not os.listdir(tmp_path)
        np.testing.assert_array_equal(found, source[ORDER[ORDER < len(source)]])


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, *_: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapped, "COPY_BYTES", 100)
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(StoreError, match="has no room for 240 B of rows in another order.*TMPDIR"):
        taken(ROWS, ORDER)


@pytest.mark.parametrize("method", ["coincide", "semdedup_random"])
def test_a_selection_is_the_same_from_a_file(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, ids = np.arange(50) % 3, [f"d/{row * 7 % 50:02d}" for row in range(50)]
    labels[::9] = -1
    inputs: dict[str, Any] = {"vectors": ROWS, "embeddings": ROWS, "centers": ROWS[:3].astype(np.float32)}
    in_memory = select(None, labels, ids, 20, method=method, **inputs)
    monkeypatch.setattr(mapped, "COPY_BYTES", 10)
    assert select(None, labels, ids, 20, method=method, **inputs).ids.tolist() == in_memory.ids.tolist()
