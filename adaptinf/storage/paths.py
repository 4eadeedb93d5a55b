"""Why a path is no file that can be read, in words for a message."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


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
