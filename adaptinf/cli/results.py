"""The commands about what a run has done: explain it, export it, correct its pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adaptinf import api
from adaptinf.cli.options import AsJson, NoVerify, Quiet, RunFolder
from adaptinf.cli.output import say, say_json, say_text

ImagesChoice = Literal["embed", "copy", "reference"]
SampleId = Annotated[str, typer.Argument(help="Id of a sample: DATASET/ID, such as llava665k/000000033471.")]
SamplesOf = Annotated[str, typer.Argument(help="File with one id per line, or an id: DATASET/ID.", metavar="ID|FILE")]


def explain(
    folder: RunFolder,
    id: SampleId,
    test: Annotated[
        bool, typer.Option("--test", help="ID is that of a test item, SKILL/ID: show every answer to it.")
    ] = False,
    no_verify: NoVerify = False,
    as_json: AsJson = False,
) -> None:
    """Show a sample's history, step by step.

    Scores, cluster, whether and why it was selected, trained on, pruned. With --test the answers to a
    test item: prompt, allowed answers, prediction, strict and tolerant score, why it ended.
    """
    from dataclasses import asdict

    from adaptinf.cli.item_text import item_text
    from adaptinf.cli.sample_text import history_text

    if test:
        item = api.explain_test(folder, id, verify=not no_verify)
        if as_json:
            say_json(asdict(item))
        else:
            say_text(item_text(item))
        return
    found = api.explain(folder, id, verify=not no_verify)
    if as_json:
        say_json(asdict(found))
    else:
        say_text(history_text(found))


def export(
    folder: RunFolder,
    step: Annotated[int, typer.Option(help="Number of the step whose selection is written, from 0.", min=0)],
    format: Annotated[str, typer.Option(help="Format; `adaptinf list` names them.")] = "messages",
    out: Annotated[Path | None, typer.Option(help="New folder; FOLDER/exports/STEP-FORMAT if left out.")] = None,
    images: Annotated[
        ImagesChoice | None,
        typer.Option(
            help="embed: Parquet with the images in it; copy: files in the folder; reference: paths. If left out: "
            "reference for images that are files, copy for those that the pool holds."
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export the samples of this file, one id per line, whatever was selected."),
    ] = None,
    no_verify: NoVerify = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a step's selection for any other trainer.

    The folder holds data, ids, scores, and a manifest with seeds and hashes.
    """
    from adaptinf.cli.progress import make_progress
    from adaptinf.words import counted

    progress = make_progress(quiet=quiet or as_json)
    found = api.export(
        folder,
        step=step,
        format=format,
        out=out,
        images=images,
        ids=ids,
        verify=not no_verify,
        progress=progress,
    )
    if as_json:
        say_json(found.manifest)
        return
    sources = ", ".join(f"{name} {count:,}" for name, count in found.manifest["sources"].items())
    num_files = len(found.manifest["files"]) + 1
    say(f"wrote {found.folder}: {counted(found.num_samples, 'sample')} ({sources}), {counted(num_files, 'file')}")
    if found.num_withdrawn:
        say(f"left out: {counted(found.num_withdrawn, 'sample')} of withdrawn datasets")
    if found.num_excluded:
        say(f"left out: {counted(found.num_excluded, 'sample')} that were excluded since")
    if found.loss_flags["written"]:
        say(f"{counted(found.loss_flags['written'], 'sample')} with turns that are not learnt, flagged as such")
    if found.loss_flags["lost"]:
        samples = counted(found.loss_flags["lost"], "sample")
        say(f"warning: {samples} with turns that are not learnt; {format} cannot say so, another trainer learns them")


def export_model(
    folder: RunFolder,
    out: Annotated[Path, typer.Option(help="New folder; an empty one may stand there.")],
    step: Annotated[
        int | None,
        typer.Option(help="Number of the step after which the model is taken, from 0; the last one not rolled back."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Whole weights in the base model's own type, with the adapter merged in.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not load an adapter again to compare it with the tested model.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the model after a step as an ordinary Hugging Face folder with a model card.

    It holds the adapter, or with --merge whole weights, and loads with `from_pretrained`. The card
    says what it was trained on, how it answers, what it forgot, and how to serve it.
    """
    from adaptinf.cli.progress import make_progress
    from adaptinf.words import format_bytes

    progress = make_progress(quiet=quiet or as_json)
    found = api.export_model(folder, out=out, step=step, merge=merge, check=not no_check, progress=progress)
    if as_json:
        say_json(found.as_json())
        return
    kind = {"adapter": "the adapter", "merged": "the merged model", "whole": "the whole model"}[found.form]
    say(f"wrote {found.folder}: {kind} after step {found.step} of {found.base}, {format_bytes(found.num_bytes)}")
    compared = f"loaded again: logits within {found.distance} of the tested model's"
    say(compared if found.distance else "not compared with the tested model (--no-check)")
    say(*(f"note: {line}" for line in found.notes))


def verify(
    folder: RunFolder,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove damaged folders that `run` or `step` makes again from what is whole."),
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Write checksums for folders without, taking their files as they are.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check every file of a run against its checksum.

    Each damaged file is named with what it loses and what makes it again. The exit code is 2 if any
    is damaged. Nothing is written without --repair or --adopt.
    """
    from adaptinf.cli.progress import make_progress
    from adaptinf.cli.verified_text import verified_lines

    progress = make_progress(quiet=quiet or as_json)
    found = api.verify(folder, repair=repair, adopt=adopt, progress=progress)
    if as_json:
        say_json(found.as_json())
    else:
        say(*verified_lines(found))
    if not found.is_whole:
        raise typer.Exit(2)


def exclude(
    folder: RunFolder,
    ids: SamplesOf,
    why: Annotated[str, typer.Option(help="Reason, one line, which explain and the report show.")] = "",
) -> None:
    """Take samples out of the pool. Later steps do not select them; what was learnt of them stays."""
    say(api.exclude(folder, ids, why=why).text)


def restore(folder: RunFolder, id: SamplesOf) -> None:
    """Undo what took samples out of the pool last.

    A pruned sample comes back and is not pruned again, an excluded one is an ordinary sample again.
    """
    say(api.restore(folder, id).text)


def withdraw(
    folder: RunFolder, name: Annotated[str, typer.Argument(help="Name of a dataset, as in the stream.")]
) -> None:
    """Remove a whole dataset from the pool. Later steps do not select from it; what was learnt stays."""
    say(api.withdraw(folder, name).text)
