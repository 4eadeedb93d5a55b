"""Reading the files of finished folders: a reader compares what it reads with the checksums first.

Each file is hashed once per process, unless it changes. A folder without checksums is read as it is. `checking(False)`
turns the comparison off for a block: what such a block reads may be damaged without a word.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

import numpy as np
import xxhash

from adaptinf.errors import StoreError
from adaptinf.storage import checksums
from adaptinf.storage.checksums import CHECKSUMS, WAY_OUT, Checksums, FileSums
from adaptinf.storage.digests import FileState, file_state
from adaptinf.storage.inspection import problem_of
from adaptinf.storage.paths import read_ordinary, why_no_file

_State = tuple[str, FileState]
"""Path and state of a file: while they stay, its content does."""
_IS_ON: ContextVar[bool] = ContextVar("adaptinf_checks_checksums", default=True)
_SEEN: dict[_State, set[int]] = {}
"""The blocks of each file that were found whole in this process."""
_PASSED: set[_State] = set()
"""Files whose form was checked in this process, in place of checksums."""


@contextmanager
def checking(is_on: bool) -> Iterator[None]:
    """Compare with checksums in the block, or do not."""
    token = _IS_ON.set(is_on)
    try:
        yield
    finally:
        _IS_ON.reset(token)


def is_checking() -> bool:
    """Tell whether files are compared with their checksums here."""
    return _IS_ON.get()


def check_file(path: Path, *, folder: Path | None = None, first: int = 0, stop: int | None = None) -> bool:
    """Check the blocks of a file that hold the bytes from `first` to before `stop`; return whether that was possible.

    Args:
        path: the file.
        folder: the finished folder that it is in; None: its own.
        first: number of the first byte.
        stop: number of the byte after the last one; None: to the end of the file.

    Raises:
        StoreError: the file is not as it was written, or the folder's checksums are damaged.
    """
    check_ordinary(path)
    name = path.name if folder is None else path.relative_to(folder).as_posix()
    found = _checksums(path.parent if folder is None else folder) if is_checking() else None
    if found is None or name not in found.files:
        return False
    sums = found.files[name]
    last = sums.num_bytes if stop is None else min(stop, sums.num_bytes)
    _check_blocks(path, found, name, range(first // found.block_bytes, -(-last // found.block_bytes)))
    return True


def read_bytes(path: Path) -> bytes:
    """Return the content of a file that is not large, checked as by `check_file`: most of them are read once.

    Raises:
        StoreError: as `check_file`.
        OSError: it cannot be read.
    """
    state = _state(path)
    found = _checksums(path.parent) if is_checking() else None
    sums = None if found is None else found.files.get(path.name)
    if sums is not None and len(sums.blocks) == 1 and state is not None and state not in _SEEN:
        data = read_ordinary(path)
        if data is not None and _is_whole(data, sums):
            _SEEN[state] = {0}
            return data
    check_file(path)
    return path.read_bytes()


def _is_whole(data: bytes, sums: FileSums) -> bool:
    """Tell whether this is the content of a file of one block."""
    return len(data) == sums.num_bytes and xxhash.xxh3_64_hexdigest(data) == sums.blocks[0]


def check_ordinary(path: Path) -> None:
    """Check that what stands in the place of a file is one, before it is opened: a pipe would be waited for.

    Raises:
        StoreError: it is a folder, a pipe, a device or a link to itself. What is missing is left to the reader.
    """
    problem = why_no_file(path)
    if problem and (path.exists() or path.is_symlink()):
        raise StoreError(f"{path} {problem}; {WAY_OUT}")


def check_rows(array: np.ndarray, rows: np.ndarray) -> None:
    """Check the blocks that hold some rows of a memory-mapped .npy file; nothing for an array in memory.

    Raises:
        StoreError: as `check_file`.
    """
    if not isinstance(array, np.memmap) or not array.size or not len(rows):
        return
    path, row_bytes = Path(str(array.filename)), array.nbytes // len(array)
    check_file(path, stop=array.offset)
    starts = array.offset + np.unique(rows).astype(np.int64) * row_bytes
    found = _checksums(path.parent) if is_checking() else None
    block_bytes = checksums.BLOCK_BYTES if found is None else found.block_bytes
    touched = np.unique(np.concatenate([starts // block_bytes, (starts + row_bytes - 1) // block_bytes]))
    for block in touched.tolist():
        check_file(path, first=block * block_bytes, stop=(block + 1) * block_bytes)


def check_folder(folder: Path) -> None:
    """Check every block of every file of a folder, and that no file was added to it.

    Raises:
        StoreError: as `check_file`, for the first such file.
    """
    found = _checksums(folder) if is_checking() else None
    if found is None:
        return
    for name, sums in found.files.items():
        if name not in found.dropped:
            _check_blocks(folder / name, found, name, range(len(sums.blocks)))
    for name, path in checksums.files_of(folder):
        if name not in found.files:
            raise StoreError(f"{path} is not one of the files that were written there; move it away")


def is_there(path: Path) -> bool:
    """Tell whether an optional file of a finished folder exists.

    Raises:
        StoreError: it was written and is gone, and was not removed on purpose.
    """
    if path.exists():
        return True
    found = _checksums(path.parent) if is_checking() else None
    if found is not None and path.name in found.files and path.name not in found.dropped:
        raise StoreError(f"{path} is missing; {WAY_OUT}")
    return False


def once_per_file(path: Path, check: Callable[[], None]) -> None:
    """Call `check`, which raises at what is wrong with a file, unless the file has passed in this process already."""
    state = _state(path)
    if state is None or state not in _PASSED:
        check()
        if state is not None:
            _PASSED.add(state)


def note_whole(folder: Path) -> None:
    """Remember that the files of a folder are as its checksums say, as these were just made."""
    found = _checksums(folder)
    if found is not None:
        states = {name: _state(folder / name) for name in found.files}
        _SEEN.update({state: set(range(len(found.files[name].blocks))) for name, state in states.items() if state})


def _check_blocks(path: Path, found: Checksums, name: str, wanted: range) -> None:
    state = _state(path)
    seen = None if state is None else _SEEN.get(state)
    left = [number for number in wanted if number not in (seen or ())]
    if seen is not None and not left:
        return
    problem = problem_of(path, found.files[name], found.block_bytes, wanted=left)
    if problem is not None:
        raise StoreError(f"{problem}; {WAY_OUT}")
    if state is not None:
        _SEEN.setdefault(state, set()).update(left)


def _state(path: str | Path) -> _State | None:
    """Return what tells whether a file has changed; None where it cannot be looked at, which reading it explains."""
    # Texts, as thousands of small files are looked at by some commands, and making a Path takes longer than its state.
    text = os.fspath(path)
    try:
        return text if os.path.isabs(text) else os.path.join(os.getcwd(), text), file_state(text)
    except OSError:
        return None


def _checksums(folder: Path) -> Checksums | None:
    """Return the checksums of a folder, read again only when they have changed; None for a folder without."""
    state = _state(os.path.join(folder, CHECKSUMS))
    return checksums.load(folder) if state is None else _loaded(os.fspath(folder), state)


@lru_cache(maxsize=2**14)  # several stages of thousands of steps, some of whose files are read later than others
def _loaded(folder: str, _: _State) -> Checksums | None:
    return checksums.load(Path(folder))
