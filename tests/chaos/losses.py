"""A file deleted, cut or replaced by something else, a whole folder deleted; then one command."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos.flips import VERBS_OF, files_of
from tests.chaos.judging import Case, Judged
from tests.chaos.runs import Workshop, small_shards
from tests.chaos.verbs import COMMANDS, try_verb

CAPABILITY_VERSION = 0x20080522
"""Of the header that `capset` takes (linux/capability.h)."""


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def into_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def into_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def lengthen(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"\x00junk")


def lock_away(path: Path) -> None:
    path.chmod(0)


LOSSES: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "halved": halve,
    "emptied": empty,
    "zeroed": into_zeros,
    "lengthened": lengthen,
    "folder": into_folder,
    "symlink-loop": into_loop,
    "pipe": into_pipe,
    "unreadable": lock_away,
}


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield every loss of every file and of every folder, with every command."""
    for state, verbs in VERBS_OF.items():
        for verb in [verb for verb in verbs if verb in COMMANDS]:
            for name in files_of(workshop, state):
                for kind in LOSSES:
                    do = partial(_try_file, workshop, state, name, verb, kind)
                    yield Case(f"damaged file, {verb}", f"losses/{state}/{name}/{kind}/{verb}", do)
            for name in folders_of(workshop, state):
                if is_undone(workshop, state, name, verb):
                    continue
                do = partial(_try_folder, workshop, state, name, verb)
                yield Case(f"folder deleted, {verb}", f"losses/{state}/{name}/folder-deleted/{verb}", do)


def folders_of(workshop: Workshop, state: str) -> list[str]:
    """Return every folder of a state."""
    folder = workshop.state(state)
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_dir()]


def is_undone(workshop: Workshop, state: str, name: str, verb: str) -> bool:
    """Tell whether deleting a folder is what the documentation tells users to do, so that a command follows it.

    The newest step is undone by deleting its folder, all steps by deleting theirs; and a stage of a step that is not
    finished is begun again. An export is the user's to delete.
    """
    newest = max((workshop.state(state) / "steps").glob("[0-9]*")).relative_to(workshop.state(state))
    is_unfinished = not (workshop.state(state) / newest / "pruning").exists()
    parents = (Path(name), *Path(name).parents)
    if Path("exports") in parents:
        return verb == "verify"
    return Path(name) in (newest, newest.parent) or (is_unfinished and newest in parents and verb == "status")


def _try_file(workshop: Workshop, state: str, name: str, verb: str, kind: str, scratch: Path, rng: Random) -> Judged:
    before = without_rights if kind == "unreadable" else small_shards
    return try_verb(workshop, state, verb, scratch, lambda run: LOSSES[kind](run / name), name, before=before)


def _try_folder(workshop: Workshop, state: str, name: str, verb: str, scratch: Path, rng: Random) -> Judged:
    return try_verb(workshop, state, verb, scratch, lambda run: shutil.rmtree(run / name), name)


def without_rights() -> None:
    """Give up what root may do in spite of permissions, for this process."""
    small_shards()
    if os.geteuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "capset")
