"""Why a path is no file that can be read, in words for a message."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_ordinary(path: str | Path) -> bytes | None:
    """Return the content of a file that is not large, with as few calls of the system as there can be.

    None for what is no ordinary file, which is not waited for, and for one that is written meanwhile.

    Raises:
        OSError: it cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            return None
        content = os.read(opened, state.st_size + 1)
        while len(content) < state.st_size and (more := os.read(opened, state.st_size - len(content))):
            content += more
    finally:
        os.close(opened)
    return content if len(content) == state.st_size else None


def why_no_file(path: Path) -> str | None:
    """Return what keeps a path from being read as a file, such as `does not exist`; None for an ordinary file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is a link to nothing" if path.is_symlink() else "does not exist"
    except OSError as error:
        return "is a link that leads to itself" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"
    except ValueError:  # a null character in the name
        return "does not exist"
    if stat.S_ISREG(mode):
        return None
    # Reading a pipe waits for somebody who writes, and some devices have no end.
    return "is a folder" if stat.S_ISDIR(mode) else "is no ordinary file"
