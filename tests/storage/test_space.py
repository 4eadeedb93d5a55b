"""A full disk names a file or folder, whatever the library that wrote raises."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from adaptinf.errors import StoreError
from adaptinf.storage import lock, space, tables


@pytest.mark.parametrize(
    "raised",
    [
        OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        ValueError("[Errno 28] no room"),
    ],
)
def test_an_error_without_a_name_gets_that_of_the_folder(tmp_path, raised):
    with pytest.raises(OSError, match="No space left") as caught, space.named(tmp_path):
        raise raised
    assert caught.value.filename == str(tmp_path) and caught.value.__cause__ is raised
    assert space.sentence(caught.value) == (
        f"{tmp_path}: no space left on device; free some space or some files (df -h, df -i), "
        "then repeat the same command, which goes on"
    )


@pytest.mark.parametrize(
    "raised",
    [StoreError("x"), OSError(errno.EACCES, "denied"), RuntimeError("os error 2"), KeyError("28"), KeyboardInterrupt()],
)
def test_every_other_error_comes_through_as_it_is(tmp_path, raised):
    with pytest.raises(type(raised)) as caught, space.named(tmp_path):
        raise raised
    assert caught.value is raised


def test_a_cause_counts_and_a_name_that_is_known_stays(tmp_path):
    with pytest.raises(OSError) as caught, space.named(tmp_path):
        try:
            raise OSError(errno.EDQUOT, "quota", "x.bin")
        except OSError as error:
            raise RuntimeError("unexpected pos 20032 vs 19920") from error
    assert caught.value.errno == errno.EDQUOT
    with pytest.raises(OSError) as caught, space.named(tmp_path):
        raise OSError(errno.ENOSPC, "no space", "x.bin")
    assert caught.value.filename == "x.bin"


def test_a_library_that_does_not_say_why_is_found_out_by_a_trial(tmp_path, monkeypatch):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught, space.named(tmp_path):
        raise RuntimeError("unexpected pos 20032 vs 19920")
    assert caught.value.filename == str(tmp_path)


def in_child(folder: Path, limit: int) -> int:
    """Write a table and a file of torch with a limit on the size of a file; return 0 if both name the folder."""
    import torch

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    numbers = np.random.default_rng(0).random(100_000)
    for write in (
        lambda: tables.write_table(folder / "t.parquet", {"x": numbers}),
        lambda: torch.save({"x": torch.from_numpy(numbers)}, folder / "t.pt"),
        lambda: np.save(folder / "t.npy", numbers),
    ):
        try:
            with lock.held(folder):
                write()
        except OSError as error:
            if error.errno != errno.EFBIG or not str(error.filename).startswith(str(folder)):
                return 1
        else:
            return 2
    return 0


def test_the_writers_of_a_run_name_the_folder_under_a_real_limit(tmp_path):
    child = os.fork()
    if child == 0:
        code = 3
        try:
            code = in_child(tmp_path, 50_000)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
