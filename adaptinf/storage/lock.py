"""The lock of a folder: one process works in it, until that process ends for any reason.

Two things are locked, both by the operating system: the folder itself, which nobody can delete while work goes on in
it, and the file `.lock`, which names the process. Where a file system cannot lock a folder (NFS), the file alone
counts: a lock file that is deleted there lets a second process in.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adaptinf.errors import StoreError
from adaptinf.storage import space

LOCK_NAME = ".lock"
LONGEST = 32
"""Bytes of a lock file that are read: a process id has far fewer."""
PATIENCE_SECONDS = 0.5
"""How long a folder must be in use before it is refused: `holder` looks at the lock by taking it for a moment."""
PAUSE_SECONDS = 0.02
"""Time between two attempts."""

_held: set[int] = set()
"""Open descriptors of this process that carry a lock."""


def _forget_in_child() -> None:
    """Close what a forked process inherited, so that it does not keep the lock when its parent has died."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder's lock."""

    process: int | None
    """Its process id; None: its lock file does not say."""

    def __str__(self) -> str:
        return "unknown" if self.process is None else str(self.process)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, making it if need be; no other process is let in, whatever becomes of `.lock`.

    Raises:
        StoreError: another process holds the lock, the message has its process id; or `.lock` is no lock file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = _descriptor(folder, os.O_RDONLY | os.O_DIRECTORY)
    with _kept(place):
        _take(place, folder, is_folder=True)
        with _kept(_locked_file(folder / LOCK_NAME)) as file:
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
            with space.named(folder):
                yield


@contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Hold a lock file of its own for the block; waits for the process that holds it.

    Raises:
        StoreError: what stands at `path` is no lock file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _kept(_locked_file(path, waits=True)):
        yield


def holder(folder: Path) -> Holder | None:
    """Return the process that holds the lock of a folder; None where nobody does. Nothing is written."""
    for path, flags in ((folder, os.O_DIRECTORY), (folder / LOCK_NAME, os.O_NOFOLLOW | os.O_NONBLOCK)):
        try:
            descriptor = _descriptor(path, os.O_RDONLY | flags)
        except OSError:
            continue
        with _kept(descriptor):
            if not could_take(descriptor, fcntl.LOCK_SH):
                return _named(folder)
    return None


def _descriptor(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o666)


@contextmanager
def _kept(descriptor: int) -> Iterator[int]:
    """Keep an open descriptor for the block; a process forked in the block closes its own copy at once."""
    _held.add(descriptor)
    try:
        yield descriptor
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def _locked_file(path: Path, *, waits: bool = False) -> int:
    """Return the descriptor of a lock file that is locked, and still stands at `path`."""
    while True:
        descriptor = _opened_file(path)
        try:
            if waits:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            else:
                _take(descriptor, path.parent)
            if stands_at(descriptor, path):
                _refuse_other_content(descriptor, path)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # It was deleted or replaced between opening and locking: another process may have locked the new one.
        os.close(descriptor)


def _opened_file(path: Path) -> int:
    try:
        # O_NONBLOCK: a FIFO would wait for somebody who reads it.
        descriptor = _descriptor(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise _no_lock_file(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock_file(path)
    return descriptor


def _refuse_other_content(descriptor: int, path: Path) -> None:
    """Refuse a file that is not ours before it is overwritten: ours is empty or holds a process id."""
    content = os.pread(descriptor, LONGEST + 1, 0)
    if content and _process(content) is None:
        raise _no_lock_file(path)


def _no_lock_file(path: Path) -> StoreError:
    return StoreError(f"{path} is no lock file of adaptinf; nothing was written to it: move it away")


def stands_at(descriptor: int, path: Path) -> bool:
    """Tell whether what is open is what stands at a path now: it may have been replaced or removed since."""
    own = os.fstat(descriptor)
    try:
        other = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (own.st_ino, own.st_dev) == (other.st_ino, other.st_dev)


def _take(descriptor: int, folder: Path, *, is_folder: bool = False) -> None:
    """Lock a descriptor.

    Raises:
        StoreError: another process has it locked.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not could_take(descriptor, fcntl.LOCK_EX, is_optional=is_folder):
        if time.monotonic() > end:
            raise StoreError(f"{folder} is in use by process {_named(folder)}; wait for it or stop it")
        time.sleep(PAUSE_SECONDS)


def could_take(descriptor: int, kind: int, *, is_optional: bool = True) -> bool:
    """Lock a descriptor if nobody else has; a file system that cannot lock it counts as taken if `is_optional`."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if not is_optional:
            raise
    return True


def _named(folder: Path) -> Holder:
    """Return the process that the lock file names."""
    try:
        descriptor = _descriptor(folder / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return Holder(None)
    try:
        return Holder(_process(os.pread(descriptor, LONGEST + 1, 0)))
    except OSError:
        return Holder(None)
    finally:
        os.close(descriptor)


def _process(content: bytes) -> int | None:
    """Return the process id in a lock file; None where it holds anything else."""
    text = content.strip()
    return int(text) if text.isdigit() and len(content) <= LONGEST else None
