"""Proof that a folder that was made again is as before: the checksums of the removed one are kept beside it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from adaptinf.errors import StoreError
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.pool.stored import arrival_of
from adaptinf.runs import Run, events
from adaptinf.runs.layout import BASE, BASE_STEP
from adaptinf.storage import checksums, store
from adaptinf.words import counted

FORMER = ".former.json"
"""End of the name of the checksums that a removed folder had; the name begins with the folder's."""


@dataclass(frozen=True, kw_only=True)
class MadeAgain:
    """A folder that was made again after its removal."""

    folder: Path
    """The folder."""
    differing: tuple[str, ...]
    """Names of files that are not as they were before; none: every byte is."""


def remove(folder: Path) -> None:
    """Remove a folder, after its checksums were copied beside it."""
    former = former_of(folder)
    if (folder / checksums.CHECKSUMS).exists():
        part = store.part_of(former)
        shutil.copyfile(folder / checksums.CHECKSUMS, part)
        os.replace(part, former)
    store.discard(folder)


def former_of(folder: Path) -> Path:
    """Return the file of the checksums that a removed folder had."""
    return folder.with_name(folder.name + FORMER)


def compare_made_again(run: Run) -> list[MadeAgain]:
    """Compare every folder that was made again with what it was, note the outcome, and forget the former checksums."""
    found = []
    places = (run.pool_folder, *run.folder.glob(BASE), *sorted(run.steps_folder.glob("*")))
    for former in (path for place in places for path in sorted(place.glob(f"*{FORMER}"))):
        folder = former.with_name(former.name.removesuffix(FORMER))
        if not folder.exists():
            continue
        made = MadeAgain(folder=folder, differing=_differing(former, folder))
        step, stage = _place(run, folder)
        events.note_made_again(run.events_file, step, stage, made.differing)
        run.progress.note(_sentence(run, made, step))
        former.unlink()
        found.append(made)
    return found


def _differing(former: Path, folder: Path) -> tuple[str, ...]:
    try:
        before, now = checksums.read(former), checksums.load(folder)
    except StoreError:
        before = now = None
    if before is None or now is None:
        return (checksums.CHECKSUMS,)
    return tuple(name for name in sorted({*before.files, *now.files}) if before.files.get(name) != now.files.get(name))


def _sentence(run: Run, made: MadeAgain, step: int) -> str:
    if not made.differing:
        return f"{made.folder} was made again: every byte is as before"
    later = f"; steps from {step + 1} on were made with the former one" if step + 1 < run.num_finished else ""
    names = ", ".join(made.differing[:3])
    return (
        f"warning: {made.folder} was made again, and {counted(len(made.differing), 'file')} differ from before "
        f"({names}{', ...' if len(made.differing) > 3 else ''}): another machine or version, or a moved folder?{later}"
    )


def _place(run: Run, folder: Path) -> tuple[int, str]:
    """Return step and stage of a folder, as the log names them."""
    if folder.parent == run.pool_folder:
        arrival = arrival_of(folder)
        return (arrival[0] if arrival else 0), POOL_STAGE
    step = folder.parent.name
    return (BASE_STEP if step == BASE else int(step)), folder.name
