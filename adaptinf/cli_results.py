"""The command line, continued: commands that look into a run, correct its pool and carry its result away."""

from __future__ import annotations

from typing import Annotated

import typer

from adaptinf.cli_options import AsJson, RunFolder, print_json

SampleId = Annotated[str, typer.Argument(help="Id of a sample: DATASET/OWN-ID.")]


def explain(folder: RunFolder, id: SampleId, as_json: AsJson = False) -> None:
    """Tell the life of one sample: scores, cluster, chosen or why not, trained when, pruned because of whom."""
    from dataclasses import asdict

    from adaptinf.explain import explain as life_of
    from adaptinf.runs import Run
    from adaptinf.story import tell

    life = life_of(Run.open(folder), id)
    if as_json:
        print_json(asdict(life))
    else:
        print(tell(life))


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
    for command in (explain, restore, withdraw):
        app.command()(command)
