"""The user's cache folder: what saves time when a command is repeated, and can be deleted at any time."""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "ADAPTINF_CACHE"
"""Names another folder."""
KEPT_SECONDS = 7 * 86_400
"""What was not used for a week is removed when something else is kept."""


def cache_folder() -> Path:
    """Return the folder, which need not exist: what VARIABLE names, else `adaptinf` in the user's caches."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "adaptinf"


def own_folder(kind: str, name: str) -> Path | None:
    """Return a folder of the cache that nobody else can write, made if need be; None where there can be none.

    Old ones of the same kind are removed.
    """
    place = cache_folder() / kind
    folder = place / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(folder, 0o700)
        about = os.lstat(folder)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            return None
        os.utime(folder)
        for other in place.iterdir():
            if time.time() - other.stat().st_mtime > KEPT_SECONDS and other.is_dir() and not other.is_symlink():
                shutil.rmtree(other, ignore_errors=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    return folder


def remove(folder: Path) -> None:
    """Remove a folder of the cache."""
    with suppress(OSError):
        shutil.rmtree(folder)
