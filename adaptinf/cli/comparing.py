"""The commands that run several methods over one stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptinf import api
from adaptinf.cli.options import AsJson, Overrides, Quiet
from adaptinf.cli.output import say, say_json
from adaptinf.errors import ConfigError

DEMO_METHODS = "adapt_plus,adapt,random_replay,sequential,oracle"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data and one run folder per method.")] = Path("runs/demo"),
    methods: Annotated[str, typer.Option(help="Methods to run, separated by commas.")] = DEMO_METHODS,
    seed: Annotated[int, typer.Option(help="Seed of the data and the runs.", min=0)] = 0,
    steps: Annotated[int | None, typer.Option(help="Number of steps to run; all six if left out.", min=1)] = None,
    quiet: Quiet = False,
) -> None:
    """Run all steps with a tiny model on six small image datasets. No download, no GPU."""
    from adaptinf.cli.console_tables import show_summary
    from adaptinf.cli.progress import make_progress

    result = api.demo(out=out, methods=_names(methods), seed=seed, steps=steps, progress=make_progress(quiet=quiet))
    show_summary(result.summary)
    say("", f"run folders: {', '.join(str(run.folder) for run in result.runs)}", f"report: {result.report}")


def compare(
    stream: Annotated[str, typer.Argument(help="stream.yaml, a run's config.yaml, or a benchmark: mini-liit-quick.")],
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas; `adaptinf list` shows them as selectors.")
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    out: Annotated[Path | None, typer.Option(help="Folder; runs/<name of the file>-compare if left out.")] = None,
    variants: Annotated[Path | None, typer.Option(help="YAML file of more rows: name -> method and settings.")] = None,
    cap: Annotated[
        str | None,
        typer.Option(
            help="Largest pool after a step, for all rows but multitask: auto (4 x budget), none, or a number of "
            "samples; if left out, only lite_adapt has a cap."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps to run; all if left out.", min=1)] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Runs in parallel, one thread each; if left out, one per core, or a single one on a GPU.", min=1
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare methods and seeds over one stream in a table.

    Repeat the command to resume it, or with more methods and seeds to add rows.
    """
    from adaptinf.cli.console_tables import show_comparison
    from adaptinf.cli.progress import make_progress

    found = api.compare(
        stream,
        methods=_names(methods),
        seeds=_seeds(seeds),
        out=out,
        variants=variants,
        cap=cap,
        steps=steps,
        workers=workers,
        settings=overrides,
        progress=make_progress(quiet=quiet or as_json),
    )
    if as_json:
        say_json(found.table.as_json())
    else:
        show_comparison(found.table)
        say("", f"run folders: {found.folder}/ROW/seed-N")
        say(f"records: {found.records_file}", f"report: {found.report}")
    if found.table.errors:
        raise ConfigError("; ".join(found.table.errors))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> list[int]:
    words = _names(text)
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"--seeds {text!r} must be whole numbers from 0, separated by commas; write 0,1,2")
    return [int(word) for word in words]
