"""The commands about what a run has done: why, carry it away, overrule it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adaptinf.cli.options import AsJson, Quiet, RunFolder, print_json

ImagesChoice = Literal["reference", "copy"]
SampleId = Annotated[str, typer.Argument(help="Id of a sample: DATASET/OWN-ID.")]


def explain(folder: RunFolder, id: SampleId, as_json: AsJson = False) -> None:
    """Tell the life of one sample: scores, cluster, chosen or why not, trained when, pruned because of whom."""
    from dataclasses import asdict

    from adaptinf.cli.story import tell
    from adaptinf.history.explain import sample_history
    from adaptinf.runs import Run

    found = sample_history(Run.open(folder), id)
    if as_json:
        print_json(asdict(found))
    else:
        print(tell(found))


def export(
    folder: RunFolder,
    step: Annotated[int, typer.Option(help="Step whose selection is wanted; the first is 0.", min=0)],
    format: Annotated[str, typer.Option(help="Format; `adaptinf list` names them.")] = "messages",
    out: Annotated[Path | None, typer.Option(help="New folder; FOLDER/exports/STEP-FORMAT if left out.")] = None,
    images: Annotated[ImagesChoice, typer.Option(help="Leave images where they are, or copy them.")] = "reference",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write what a step selected for any other trainer: data, ids, scores, and a manifest with seeds and hashes."""
    from adaptinf.cli.progress import make_progress
    from adaptinf.history.export import export_selection
    from adaptinf.runs import Run

    run = Run.open(folder)
    target = out or run.export_folder(step, format)
    progress = make_progress(quiet=quiet or as_json)
    manifest = export_selection(run, step, format, target, images=images, progress=progress)
    if as_json:
        print_json(manifest)
        return
    sources = ", ".join(f"{name} {count:,}" for name, count in manifest["sources"].items())
    print(f"wrote {target}: {manifest['samples']:,} samples ({sources}), {len(manifest['files']) + 1:,} files")
    if manifest["left_out"]["withdrawn"]:
        print(f"left out: {manifest['left_out']['withdrawn']:,} samples of withdrawn datasets")


def restore(folder: RunFolder, id: SampleId) -> None:
    """Bring a pruned sample back; it is not pruned again."""
    from adaptinf.runs import Run, overrule

    with Run.locked(folder) as run:
        print(overrule.restore(run, id))


def withdraw(
    folder: RunFolder, name: Annotated[str, typer.Argument(help="Name of a dataset, as in the stream.")]
) -> None:
    """Take a whole dataset out of the pool; later steps neither select it nor count it as teaching a skill."""
    from adaptinf.runs import Run, overrule

    with Run.locked(folder) as run:
        print(overrule.withdraw(run, name))


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (explain, export, restore, withdraw):
        app.command()(command)
