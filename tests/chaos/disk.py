"""A full disk: no file may grow, no room or no inode is left. Then there is room again, and the command is repeated."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from random import Random

from tests.chaos.forks import command
from tests.chaos.judging import HELD, Case, Judged, Verdict, fault, refusal
from tests.chaos.kills import WRITTEN, Written, prepared, repeated, undisturbed
from tests.chaos.runs import Workshop, small_shards
from tests.chaos.verbs import COMMANDS

KINDS = ("file size", "room", "inodes")
TRIED = ("run", "step", "add", "report", "export", "restore")
ROOM_BYTES, FILE_BYTES, NUM_INODES = 600_000, 5_000_000, 60
"""The most that is left in a try."""
PLENTY = "size=200m,nr_inodes=100k"


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield tries of commands that write, with each kind of full disk; without mounts only the first kind."""
    for one in WRITTEN:
        for kind in KINDS if can_mount(workshop.folder) else KINDS[:1]:
            for number in range(6 if one.verb in TRIED and one.verb in COMMANDS else 0):
                do = partial(_try, workshop, one, kind)
                yield Case(f"full disk, {kind}", f"disk/{one.verb}/{kind}/{number}", do)


@cache
def can_mount(folder: Path) -> bool:
    """Tell whether this process may mount a file system of its own."""
    place = folder / "mounted"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", PLENTY, "tmpfs", place], capture_output=True)
    if not done.returncode:
        subprocess.run(["umount", place], check=True)
    return not done.returncode


def _try(workshop: Workshop, one: Written, kind: str, scratch: Path, rng: Random) -> Judged:
    expected = undisturbed(workshop, one)
    place = scratch / "disk"
    place.mkdir()
    if kind == KINDS[0]:
        prepared(workshop, one, place)
        before = partial(_limit, rng.randrange(3_000, FILE_BYTES))
        return _filled(workshop, one, place, expected, scratch, before)
    with _mounted(place):
        prepared(workshop, one, place)
        state = os.statvfs(place)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree
        room = rng.randrange(0, ROOM_BYTES) if kind == "room" else 100 << 20
        inodes = rng.randrange(1, NUM_INODES) if kind == "inodes" else 100_000
        _remount(place, f"size={used[0] + room},nr_inodes={used[1] + inodes}")
        return _filled(workshop, one, place, expected, scratch, small_shards)


def _filled(
    workshop: Workshop, one: Written, place: Path, expected: Path, scratch: Path, before: Callable[[], None]
) -> Judged:
    """Run a command without room, and again with it."""
    ended = command(one.words(workshop, place), scratch / "said-full", before=before)
    found = fault(ended) or (refusal(ended) if ended.code else HELD)
    if found.verdict != Verdict.HELD:
        return found
    if os.path.ismount(place):
        _remount(place, PLENTY)
    return repeated(workshop, one, place, expected)


def _limit(num_bytes: int) -> None:
    small_shards()
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


@contextmanager
def _mounted(place: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", PLENTY, "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)
