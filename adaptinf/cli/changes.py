"""The commands about what a run stands on: its base model, its tests, its images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptinf import api
from adaptinf.cli.options import Quiet, RunFolder
from adaptinf.cli.output import say


def accept(
    folder: RunFolder,
    what: Annotated[str, typer.Argument(help="base: the base model; tests: the test items; gate: a stopped step.")],
    quiet: Quiet = False,
) -> None:
    """Take a changed base model, changed tests, or a step that the gate stopped, as it is. This is recorded."""
    from adaptinf.cli.progress import make_progress

    say(api.accept(folder, what, progress=make_progress(quiet=quiet)).text)


def relocate(
    folder: RunFolder,
    old: Annotated[Path, typer.Argument(help="Folder that images of the pool were in.")],
    new: Annotated[Path, typer.Argument(help="Folder that they are in now.")],
) -> None:
    """Images of the pool have moved: read them from their new place. Nothing in the datasets is changed."""
    say(api.relocate(folder, old, new).text)
