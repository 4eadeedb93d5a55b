"""The command line, continued: commands that look into a run, correct its pool and carry its result away."""

from __future__ import annotations

from typing import Annotated

import typer

from adaptinf.cli_options import RunFolder

SampleId = Annotated[str, typer.Argument(help="Id of a sample: DATASET/OWN-ID.")]


def restore(folder: RunFolder, id: SampleId) -> None:
    """Bring a pruned sample back; it is not pruned again."""
    from adaptinf import amending, store
    from adaptinf.runs import Run

    Run.open(folder)
    with store.lock(folder):
        print(amending.restore(Run.open(folder), id))


def withdraw(
    folder: RunFolder, name: Annotated[str, typer.Argument(help="Name of a dataset, as in the stream.")]
) -> None:
    """Take a whole dataset out of the pool; later steps neither select it nor count it as teaching a skill."""
    from adaptinf import amending, store
    from adaptinf.runs import Run

    Run.open(folder)
    with store.lock(folder):
        print(amending.withdraw(Run.open(folder), name))


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (restore, withdraw):
        app.command()(command)
