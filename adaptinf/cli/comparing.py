"""The commands that run several methods over one stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptinf.cli.options import AsJson, Overrides, Quiet, print_json
from adaptinf.errors import ConfigError

if TYPE_CHECKING:
    from adaptinf.compare import ConfigOf


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data and one run folder a method.")] = Path("runs/demo"),
    methods: Annotated[
        str, typer.Option(help="Methods to run, with commas.")
    ] = "adapt_plus,adapt,random_replay,sequential,oracle",
    seed: Annotated[int, typer.Option(help="Seed of data and runs.", min=0)] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps to take; all six if left out.", min=1)] = None,
    quiet: Quiet = False,
) -> None:
    """Run the whole loop on a small real stream: no download, no GPU."""
    from adaptinf.cli.console_tables import show_summary
    from adaptinf.cli.progress import make_progress
    from adaptinf.demo.run import run_demo
    from adaptinf.report import write_report
    from adaptinf.results.summary import summary_rows, write_summary
    from adaptinf.runs import Run
    from adaptinf.runs.layout import REPORT
    from adaptinf.storage import store

    names = _names(methods)
    if not names:
        raise ConfigError("--methods is empty; `adaptinf list` names them")
    Run.refuse_run(out)
    with store.lock(out):
        runs = run_demo(out, methods=names, seed=seed, progress=make_progress(quiet=quiet), num_steps=steps)
        rows, reference = summary_rows(runs)
        write_summary(out / "summary.json", rows, reference)
        page = write_report([run.folder for run in runs], out / REPORT)
    show_summary(rows, reference)
    print(f"\nrun folders: {', '.join(str(run.folder) for run in runs)}\nreport: {page}")


def compare(
    stream: Annotated[str, typer.Argument(help="stream.yaml, a run's config.yaml, or a benchmark: mini-liit-quick.")],
    methods: Annotated[str, typer.Option(help="Methods, with commas; `adaptinf list` names them.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0",
    out: Annotated[Path | None, typer.Option(help="Folder; runs/<name of the file>-compare if left out.")] = None,
    variants: Annotated[Path | None, typer.Option(help="YAML: name -> method and settings of its own.")] = None,
    cap: Annotated[
        str | None,
        typer.Option(help="One cap for all rows but multitask: auto, none or a number; else only lite_adapt has one."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to take; all if left out.", min=1)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at once, one thread each; one a core, on a GPU one.", min=1)
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run methods x seeds over one stream and print how they stand; call it again to go on, or to add to it."""
    from adaptinf.cli.console_tables import show_comparison
    from adaptinf.cli.progress import make_progress
    from adaptinf.compare import check_plan, plan, run_planned
    from adaptinf.compare.folder import ComparisonFolder
    from adaptinf.compare.variants import parse_cap, rows_of
    from adaptinf.demo.benchmark import is_benchmark
    from adaptinf.storage import store

    name = stream if is_benchmark(stream) else Path(stream).stem
    rows = rows_of(_names(methods), variants)
    folder = ComparisonFolder(out or Path("runs") / f"{name.replace(':', '-')}-compare")
    config_of, settings = _of_stream(stream, folder.path / "data", overrides)
    planned = plan(rows, _seeds(seeds), config_of, folder.run_folder, cap=parse_cap(cap))
    check_plan(planned)
    with store.lock(folder.path):
        folder.remember(rows, name, settings)
        progress = make_progress(quiet=quiet or as_json)
        run_planned(
            planned,
            progress=progress,
            num_steps=steps,
            num_workers=workers,
            cache=folder.cache,
            on_finished=folder.writer(),
        )
        table, _ = folder.write()
        page = folder.write_report()
    if as_json:
        print_json(table.as_json())
    else:
        show_comparison(table)
        print(f"\nrun folders: {folder.path}/ROW/seed-N\nrecords: {folder.path / 'comparison.json'}\nreport: {page}")
    if table.errors:
        raise ConfigError("; ".join(table.errors))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> list[int]:
    words = _names(text)
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"--seeds {text!r} must be numbers from 0, with commas: 0,1,2")
    return list(dict.fromkeys(map(int, words)))


def _of_stream(stream: str, data: Path, overrides: list[str] | None) -> tuple[ConfigOf, dict[str, Any]]:
    """Return what gives a seed its settings, and the settings that must not change while rows are added.

    A file has the same settings for all seeds, a benchmark data and a base for each.
    """
    from adaptinf import config as configuration
    from adaptinf.compare import same_config
    from adaptinf.compare.folder import shared_settings
    from adaptinf.demo.benchmark import BENCHMARKS, is_benchmark, prepare

    if is_benchmark(stream):
        changed = dict(configuration.parse_override(item) for item in overrides or [])
        return lambda seed, method: prepare(stream, data, seed, overrides or (), method=method), changed
    if not Path(stream).is_file():
        raise ConfigError(f"{stream} is neither a file nor a benchmark; benchmarks: {', '.join(BENCHMARKS)}")
    config = configuration.load(Path(stream), overrides).model_copy(update={"made_by": None})
    return same_config(config), shared_settings(config)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (demo, compare):
        app.command()(command)
