"""Which version of a harness is installed beside the program of a command.

lmms-eval writes a commit into its results instead of its version: that of the folder which it runs in, so that every
commit to a user's own project would look like another harness.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "lmms_eval"
"""The package as its metadata are named."""


def installed_version(program: str, folder: Path) -> str:
    """Return the version of lmms-eval in the environment of a program; empty: it cannot be told.

    Args:
        program: name or path, as the first word of a command.
        folder: working directory of the command.
    """
    found = shutil.which(str(folder / program) if "/" in program else program)
    for environment in _environments(Path(found)) if found else ():
        for place in sorted(environment.glob(f"lib*/python*/site-packages/{PACKAGE}-*.dist-info")):
            return place.name.removeprefix(f"{PACKAGE}-").removesuffix(".dist-info")
    return ""


def _environments(program: Path) -> Iterator[Path]:
    """Yield the environments that a program may belong to: by its place, what it links to, and its first line."""
    yield program.parent.parent
    if program.is_symlink():
        yield program.resolve().parent.parent
    with open(program, "rb") as file:
        first = file.readline(1024)
    if first.startswith(b"#!") and (words := first[2:].decode("utf-8", "replace").split()):
        yield Path(words[0]).parent.parent
