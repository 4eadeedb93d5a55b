"""What a run stands on has changed or moved: take it as it is, or say where it is now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from adaptinf.api.paths import PathLike
from adaptinf.progress import Progress

if TYPE_CHECKING:
    from adaptinf.runs.accept import Acceptance
    from adaptinf.runs.relocate import Relocation


def accept(folder: PathLike, what: str, *, progress: Progress | None = None) -> Acceptance:
    """Take a changed base model, changed tests, or a step that the gate stopped, as it is: the run goes on.

    Tables say where that was.

    Args:
        folder: the run folder.
        what: `base`: the base model, its given adapter and its proxy; `tests`: the items of all skills; `gate`: the
            step after which `evaluation_gate` has stopped the run.
        progress: where to report.

    Raises:
        ConfigError: there is no such run, no step of it has begun, or nothing of that name can be accepted.
        DataError: a test file cannot be read.
        StoreError: another process uses the run, or a file of it is damaged.
    """
    from adaptinf.runs import Run
    from adaptinf.runs.accept import accept as accepted

    with Run.locked(Path(folder), progress=progress) as opened, opened.plugins():
        return accepted(opened, what)


def relocate(folder: PathLike, old: PathLike, new: PathLike) -> Relocation:
    """Record that images of a run's pool have moved; every command reads them from their new place from now on.

    Args:
        folder: the run folder.
        old: the folder that the images were in, as the pool has it; other folders below it have moved with it.
        new: the folder that they are in now.

    Raises:
        ConfigError: there is no such run, or no image of its pool lies below `old`.
        DataError: an image is not there below `new`.
        StoreError: another process uses the run, or a file of it is damaged.
    """
    from adaptinf.runs import Run
    from adaptinf.runs.relocate import relocate as recorded

    with Run.locked(Path(folder)) as opened:
        return recorded(opened, os.fspath(old), os.fspath(new))
