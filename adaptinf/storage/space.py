"""A full disk, however the library that wrote says it: always an OSError that names a file or folder.

Arrow and safetensors give no file name, and torch says "unexpected pos". So an error without a name gets that of the
folder; and where an error of a library is no OSError, a trial shows whether the folder still takes data.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptinf.errors import AdaptError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the operating system says when a file cannot grow or be made: the disk, a quota, the limit of a file's size."""
NUMBER = re.compile(r"(?:os error|errno:?|\[Errno) (\d+)", re.IGNORECASE)
"""The number of an error of the operating system, as libraries in other languages write it."""
TRIAL_BYTES = 4 << 20
"""Bytes that the trial writes."""


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """Give errors of a full disk in the block the name of `folder`, where they have none.

    Raises:
        OSError: with an error number of FULL and a file name; every other error comes through as it is.
    """
    try:
        yield
    except AdaptError:
        raise
    except Exception as error:
        number = _number_of(error, folder)
        if number is None or (isinstance(error, OSError) and error.filename is not None):
            raise
        raise OSError(number, os.strerror(number), str(folder)) from error


def sentence(error: OSError) -> str | None:
    """Return what a full disk means for the user and what to do; None for every other error."""
    if error.errno not in FULL:
        return None
    place = error.filename or "a file"
    what = os.strerror(error.errno or 0).lower()
    if error.errno == errno.EFBIG:
        return f"{place}: {what}; raise the limit with ulimit -f, then repeat the same command, which goes on"
    return f"{place}: {what}; free some space or some files (df -h, df -i), then repeat the same command, which goes on"


def free_disk(folder: Path) -> tuple[Path, int]:
    """Return the nearest existing folder at or above `folder`, and the free bytes there."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    return existing, shutil.disk_usage(existing).free


def _number_of(error: Exception, folder: Path) -> int | None:
    """Return the number of FULL that an error is about; None where it is about something else."""
    # NumPy raises an OSError without a number: "50000 requested and 6234 written".
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in FULL else None
    return _number_in(error) or _number_of_trial(folder)


def _number_in(error: BaseException | None) -> int | None:
    """Return the number of FULL in an error's message, or in the error that it came from."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        numbers = [number, *map(int, NUMBER.findall(str(error)))]
        found = next((one for one in numbers if one in FULL), None)
        if found is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def _number_of_trial(folder: Path) -> int | None:
    """Return the number of FULL that writing to a folder gives now; None where it works."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and any(path.stat().st_size >= limit for path in _files(folder)):
        return errno.EFBIG  # a file was cut at the limit
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, TRIAL_BYTES if limit == resource.RLIM_INFINITY else 1)
    except OSError as error:
        return error.errno if error.errno in FULL else None
    return None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
