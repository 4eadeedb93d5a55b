"""The commands that need no run folder: look at data, a model or the machine; select from given scores."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from adaptinf import api
from adaptinf.cli.options import (
    AsJson,
    Columns,
    DataPath,
    Format,
    Images,
    MaxRows,
    Overrides,
    Plugins,
    Quiet,
    Split,
    Subset,
    named_columns,
)
from adaptinf.cli.output import say, say_coloured, say_json
from adaptinf.words import counted


def doctor(
    stream: Annotated[Path | None, typer.Argument(help="stream.yaml: check its model and data as well.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs would be written, to check the free disk.")] = Path("runs"),
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check the environment, and the model of a stream.

    With a stream: whether batches give the same numbers as single samples and gradients are
    correct with its model, how fast extraction is, and how long the stream takes.
    """
    from adaptinf.cli import console
    from adaptinf.cli.progress import make_progress

    progress = make_progress(quiet=quiet or as_json)
    shown = None if as_json else console.show_check
    found = api.doctor(stream, out=out, settings=overrides, progress=progress, on_check=shown)
    if as_json:
        say_json(found.as_json())
    else:
        console.show_verdict(found)
    if not found.is_good:
        raise typer.Exit(2)


def validate(
    data: DataPath,
    images: Images = None,
    format: Format = None,
    model: Annotated[
        str | None, typer.Option(help="Hugging Face folder or hub name, to show what it makes of every sample.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of one sample, as model.max_length in stream.yaml.", min=8)
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Width times height of the largest image, as data.max_pixels.", min=1)
    ] = None,
    max_row_bytes: Annotated[
        int | None, typer.Option(help="Bytes of the largest row, as data.max_row_bytes.", min=1)
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="For a test file: check that this metric can judge its answers.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the metric, such as boxes=unit; repeatable."),
    ] = None,
    columns: Columns = None,
    subset: Subset = None,
    split: Split = None,
    max_rows: MaxRows = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check a dataset before any GPU time is spent.

    Everything noticed is one table: finding, rows, example, what to do. The exit code is 2 if the
    file cannot be read to its end, or if nothing would be learnt.
    """
    from adaptinf.cli import console
    from adaptinf.cli.progress import make_progress

    progress = make_progress(quiet=quiet or as_json)
    found = api.validate(
        data,
        images=images,
        format=format,
        model=model,
        max_length=max_length,
        max_pixels=max_pixels,
        max_row_bytes=max_row_bytes,
        metric=metric,
        options=options,
        columns=named_columns(columns),
        subset=subset,
        split=split,
        max_rows=max_rows,
        plugins=plugins or (),
        progress=progress,
    )
    if as_json:
        say_json(found.as_json())
    else:
        console.show_findings(found)
    if not found.is_good:
        raise typer.Exit(2)


def inspect(
    data: DataPath,
    id: Annotated[str | None, typer.Argument(help="Id of a sample; a row number if no sample has it.")] = None,
    row: Annotated[int | None, typer.Option(help="Number of the row, from 0.", min=0)] = None,
    random: Annotated[int | None, typer.Option(help="Number of rows to draw at random.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.", min=0)] = 0,
    html: Annotated[
        Path | None, typer.Option(help="HTML file to write; of 50 random rows unless others are named.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Hugging Face folder or hub name, to show which tokens are trained on.")
    ] = None,
    images: Images = None,
    format: Format = None,
    columns: Columns = None,
    subset: Subset = None,
    split: Split = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show samples as they are read, and as a model sees them.

    The text that the model learns is in colour. With a model, its tokens of images, what was cut
    off and the loss of each turn are shown as well.
    """
    from adaptinf.cli.sample_text import inspected_text

    found = api.inspect(
        data,
        id,
        row=row,
        random=random,
        seed=seed,
        html=html,
        model=model,
        images=images,
        format=format,
        columns=named_columns(columns),
        subset=subset,
        split=split,
        plugins=plugins or (),
    )
    several = found if isinstance(found, tuple) else (found,)
    if as_json:
        say_json([one.as_json() for one in several] if isinstance(found, tuple) else several[0].as_json())
    elif html is not None:
        say(f"wrote {html}: {counted(len(several), 'sample')}")
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        say_coloured("\n\n".join(inspected_text(one, colour=colour) for one in several))


def select(
    budget: Annotated[int, typer.Option(help="Number of samples to select.", min=1)],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    scores: Annotated[
        Path | None, typer.Argument(help="Parquet table: ids, and one column of numbers per score.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help=".npy file to cluster by, one row per sample in the table's order.")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help=".npy file to find near-duplicates by (semdedup_random), one row per sample."),
    ] = None,
    method: Annotated[str, typer.Option(help="Method; `adaptinf list` shows them as selectors.")] = "adapt",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the method, such as sampling=top; repeatable."),
    ] = None,
    clusters: Annotated[
        str | None,
        typer.Option(
            help="Number of k-means clusters; auto: found from the data by the knee of the sum of squares; "
            "the method's default if left out."
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Column of the table with cluster labels; without it, k-means clusters the vectors.")
    ] = "cluster",
    ids: Annotated[str, typer.Option(help="Column of the table with ids.")] = "id",
    seed: Annotated[
        int, typer.Option(help="Seed of k-means and random draws; give each selection a seed of its own.", min=0)
    ] = 0,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Select samples from scores and vectors, without a model. Ids and reasons are written to a folder."""
    from adaptinf.cli import console

    found = api.select(
        scores,
        budget=budget,
        out=out,
        vectors=vectors,
        embeddings=embeddings,
        method=method,
        options=overrides,
        clusters=clusters,
        labels=labels,
        ids=ids,
        seed=seed,
        plugins=plugins or (),
    )
    if as_json:
        say_json(found.info)
    else:
        console.show_chosen(found)


def list_plugins(
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List formats, scorers, selectors, metrics and executors.

    Built-in ones, those of installed packages, and those of your files.
    """
    from adaptinf.cli import console

    found = api.list(plugins=plugins or ())
    if as_json:
        say_json(found.as_json())
    else:
        console.show_plugins(found)
