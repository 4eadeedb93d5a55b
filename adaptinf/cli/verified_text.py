"""What `adaptinf verify` found, as lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from adaptinf.words import counted

if TYPE_CHECKING:
    from adaptinf.verify.findings import Verified

DATE = len("2026-01-01")
SHOWN = 3
"""Paths of one kind that are named; --json has all."""


def verified_lines(found: Verified) -> list[str]:
    """Return a line per damaged file with what to do, what else is worth knowing, and the verdict as the last line."""
    return [*_damage(found), *_notes(found), _verdict(found)]


def _damage(found: Verified) -> Iterator[str]:
    """Yield a line per damaged file; files that lose the same, one after the other, share the lines on what to do."""
    left = [one for one in found.damaged if one.folder not in found.removed]
    for (loses, way_out), same in groupby(left, key=lambda one: (one.loses, one.way_out)):
        for one in same:
            yield f"{one.path} {one.what}"
        yield f"  loses: {loses}"
        yield f"  to do: {way_out}"


def _notes(found: Verified) -> Iterator[str]:
    for path in found.removed:
        yield f"removed: {path}"
    if found.removed:
        yield f"next: {found.run_command}, which makes again what was removed, and says whether every byte is as before"
    yield from _listed("unlisted, as no version of adaptinf writes it there; nothing reads it", found.unlisted)
    yield from _listed("a link, whose target was read", [f"{path} -> {to}" for path, to in found.linked.items()])
    for day, count in sorted(Counter(when[:DATE] for when in found.adopted.values()).items()):
        yield f"{counted(count, 'folder')} adopted on {day}: compared with what they were then, unknown before"
    for path, names in found.made_again.items():
        as_before = "every byte is as before" if not names else f"not as before: {', '.join(names)}"
        yield f"made again after damage: {path}: {as_before}"
    if found.unchecked:
        artifacts = counted(len(found.unchecked), "artifact")
        yield f"{artifacts} cannot be checked: they have no checksums; --adopt writes some"


def _listed(what: str, paths: Iterable[object]) -> Iterator[str]:
    names = list(map(str, paths))
    for name in names[:SHOWN]:
        yield f"{name}: {what}"
    if len(names) > SHOWN:
        yield f"... and {len(names) - SHOWN:,} more such; --json has all"


def _verdict(found: Verified) -> str:
    if not found.is_whole:
        return f"{len(found.damaged):,} damaged of {counted(found.num_files, 'file')}"
    folders, files = counted(found.num_folders, "folder"), counted(found.num_files, "file")
    return f"whole: {folders}, {files}, {found.num_bytes:,} bytes checked in {found.seconds:.1f} s"
