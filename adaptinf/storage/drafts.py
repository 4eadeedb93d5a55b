"""Files and folders that are written without a lock: under a name of their own, and put in place when complete.

Two processes may write the same target at once: each has its draft. What a killed process left is removed by the next
one that writes the same target: a draft in use is locked, one of a dead process is not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adaptinf.errors import ConfigError, StoreError
from adaptinf.storage import space
from adaptinf.storage.lock import could_take, stands_at

SUFFIX = ".part"
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""What the operating system says when a folder is to be put where something is."""


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file atomically: after a crash it is the old or the new one.

    Raises:
        StoreError: another process replaced or removed the file at the same moment.
    """
    write_bytes_whole(path, text.encode())


def write_bytes_whole(path: Path, data: bytes) -> None:
    """Write a file as `write_text_whole` does."""
    _remove_abandoned(path)
    draft, descriptor = _new_file(path)
    try:
        with space.named(path):
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(descriptor)
            os.replace(draft, path)
        _check_in_place(descriptor, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(target: Path, *, replaces_empty: bool = False) -> Iterator[Path]:
    """Yield an empty folder to write to; at the end of the block it is flushed to disk and becomes `target`.

    Args:
        target: where the folder will stand.
        replaces_empty: whether an empty folder may stand there.

    Raises:
        ConfigError: something stands at `target`, before the block or at its end.
        StoreError: another process replaced or removed the folder at the same moment.
    """
    if not (replaces_empty and is_empty_folder(target)):
        refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    draft, descriptor = _new_folder(target)
    try:
        with space.named(target.parent):
            yield draft
            _flush(draft)
            _put(draft, target)
        _check_in_place(descriptor, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def refuse_existing(target: Path) -> None:
    """Refuse to write a new folder where something is, a link to nowhere included.

    Raises:
        ConfigError: something is there.
    """
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} already exists; choose another --out, or delete it")


def is_empty_folder(path: Path) -> bool:
    """Tell whether a path is a folder with nothing in it, no link to one."""
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _draft_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.{secrets.token_hex(8)}{SUFFIX}")


def _new_file(target: Path) -> tuple[Path, int]:
    while True:
        draft = _draft_of(target)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _is_ours(descriptor, draft):
            return draft, descriptor
        os.close(descriptor)


def _new_folder(target: Path) -> tuple[Path, int]:
    while True:
        draft = _draft_of(target)
        draft.mkdir()
        descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if _is_ours(descriptor, draft):
            return draft, descriptor
        os.close(descriptor)


def _is_ours(descriptor: int, draft: Path) -> bool:
    """Lock a draft; False if another process took it for an abandoned one before it was locked."""
    return could_take(descriptor, fcntl.LOCK_EX) and stands_at(descriptor, draft)


def _check_in_place(descriptor: int, path: Path) -> None:
    if not stands_at(descriptor, path):
        raise StoreError(f"{path} was replaced or removed by another process while it was written; repeat the command")


def _put(draft: Path, target: Path) -> None:
    try:
        os.rename(draft, target)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        raise ConfigError(f"{target} already exists; choose another --out, or delete it") from error
    fsync(target.parent)


def _flush(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        fsync(path)


def fsync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Remove the drafts of a target that nobody writes any more."""
    prefix = f"{target.name}."
    with suppress(OSError):  # a folder that cannot be listed: what is written next says so
        names = [name for name in os.listdir(target.parent) if name.startswith(prefix) and name.endswith(SUFFIX)]
        for name in names:
            if _is_token(name.removeprefix(prefix).removesuffix(SUFFIX)):
                _remove_if_abandoned(target.with_name(name))


def _is_token(text: str) -> bool:
    return len(text) == 16 and set(text) <= set("0123456789abcdef")


def _remove_if_abandoned(draft: Path) -> None:
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # Unlike a new draft of ours, one that cannot be locked is left alone: nobody can tell whether it is in use.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
    except OSError:
        return
    finally:
        os.close(descriptor)
