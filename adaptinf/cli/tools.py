"""The commands that need no run folder: look at data, a model or the machine, and choose from given scores."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from adaptinf.cli.options import (
    AsJson,
    DataPath,
    Format,
    Images,
    Overrides,
    Plugins,
    Quiet,
    calm_transformers,
    print_json,
)
from adaptinf.errors import ConfigError


def doctor(
    stream: Annotated[Path | None, typer.Argument(help="stream.yaml: look at its model and data as well.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs would be written, for the free disk.")] = Path("runs"),
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check the environment; with a stream also that extraction is exact with its model, how fast, and how long."""
    from adaptinf import config as configuration
    from adaptinf.cli import console
    from adaptinf.cli.progress import make_progress
    from adaptinf.doctor.machine import examine
    from adaptinf.runs import preflight

    if overrides and stream is None:
        raise ConfigError("--set changes a setting of a stream; name its file: adaptinf doctor stream.yaml --set ...")
    config = None if stream is None else configuration.load(stream, overrides)
    checks = examine(out)
    if config is not None:
        # A run's own configuration may name datasets that are still to be added.
        preflight.check(config, whole_stream=config.made_by is None)
        calm_transformers()
        from adaptinf.doctor.model import check_model

        checks += check_model(config, out=out, progress=make_progress(quiet=quiet or as_json))
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        console.show_checks(checks)
    if not all(check.is_good for check in checks):
        raise typer.Exit(2)


def validate(
    data: DataPath,
    images: Images = None,
    format: Format = None,
    model: Annotated[
        str | None, typer.Option(help="Hugging Face folder or hub name, for token lengths and the answer mask.")
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read a dataset before any GPU time: counts, and every bad row with its reason."""
    from adaptinf import registry
    from adaptinf.cli import console
    from adaptinf.cli.progress import make_progress
    from adaptinf.doctor.dataset import token_report, validate

    progress = make_progress(quiet=quiet or as_json)
    with registry.scope(plugins or []):
        findings = validate(str(data), images=str(images) if images else None, format=format, progress=progress)
    report = findings.as_dict()
    if model is not None:
        calm_transformers()
        report["tokens"] = token_report(findings, model)
    if as_json:
        print_json(report)
    else:
        console.show_findings(data, findings, report.get("tokens"))


def inspect(
    data: DataPath,
    row: Annotated[str, typer.Argument(help="Number of the row, from 0; or an id.")],
    model: Annotated[
        str | None, typer.Option(help="Hugging Face folder or hub name, for the tokens and the answer mask.")
    ] = None,
    images: Images = None,
    format: Format = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show one sample as it is read and, with a model, as the model sees it: what it learns to say in colour."""
    from adaptinf import registry
    from adaptinf.cli.story import show
    from adaptinf.doctor.sample import inspect_row

    if model is not None:
        calm_transformers()
    with registry.scope(plugins or []):
        found = inspect_row(str(data), row, images=str(images) if images else None, format=format, model=model)
    if as_json:
        print_json(found.as_dict())
    else:
        print(show(found, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))


def select(
    budget: Annotated[int, typer.Option(help="Samples to choose.", min=0)],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    scores: Annotated[Path | None, typer.Argument(help="Parquet table: ids, and a column of numbers a score.")] = None,
    vectors: Annotated[Path | None, typer.Option(help=".npy, one row a sample in the table's order.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help=".npy, one row a sample in the table's order.")] = None,
    method: Annotated[str, typer.Option(help="Selector; `adaptinf list` names them.")] = "adapt",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="An option of the method: sampling=top")] = None,
    clusters: Annotated[
        str | None, typer.Option(help="Clusters of k-means: a number, or auto, the knee; else what the method wants.")
    ] = None,
    labels: Annotated[str, typer.Option(help="Column of the table with clusters, if it has one.")] = "cluster",
    ids: Annotated[str, typer.Option(help="Column of the table with ids.")] = "id",
    seed: Annotated[int, typer.Option(help="Of clusters and draws; another one for every draw.", min=0)] = 0,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Choose from somebody else's scores and vectors, without a model: ids and the reasons into a folder."""
    from adaptinf import config as configuration
    from adaptinf.cli import console
    from adaptinf.select_files import Request, choose_into

    request = Request(
        scores=scores,
        vectors=vectors,
        embeddings=embeddings,
        id_column=ids,
        label_column=labels,
        plugins=tuple(plugins or []),
        budget=budget,
        method=method,
        options=dict(configuration.parse_override(item) for item in overrides or []),
        clusters=int(clusters) if clusters and clusters.isdecimal() else clusters,
        seed=seed,
    )
    chosen = choose_into(out, request)
    if as_json:
        print_json(chosen.info)
    else:
        console.show_chosen(chosen.info, out)


def list_plugins(
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List formats, scorers, selectors, metrics and executors: built-in, of installed packages, and of your files."""
    from adaptinf import registry
    from adaptinf.cli import console

    with registry.scope(plugins or []):
        plugins_of = {kind.kind: {name: kind[name] for name in kind.names()} for kind in registry.REGISTRIES}

    def each(say: Callable[[object], str]) -> dict[str, dict[str, str]]:
        return {kind: {name: say(entry) for name, entry in known.items()} for kind, known in plugins_of.items()}

    if as_json:
        print_json(each(console.first_line))
    else:
        console.show_plugins(each(console.first_line), each(registry.origin))


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (doctor, validate, inspect, select):
        app.command()(command)
    app.command(name="list")(list_plugins)
