"""The commands that work on a run folder: make one, bring datasets, take steps, look at it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from adaptinf.cli.options import (
    AsJson,
    DataPath,
    Format,
    Images,
    Overrides,
    Quiet,
    RunFolder,
    calm_transformers,
    print_json,
)
from adaptinf.errors import ConfigError


def init(
    folder: RunFolder,
    model: Annotated[str, typer.Option(help="Hugging Face folder or hub name of the model that learns.")],
    overrides: Overrides = None,
) -> None:
    """Make an empty run with a commented config.yaml."""
    from adaptinf import config as configuration
    from adaptinf.runs import Run
    from adaptinf.runs.layout import CONFIG

    if (folder / CONFIG).exists():
        raise ConfigError(f"{folder / CONFIG} exists already; edit it, or choose another folder")
    settings = [f"model.path={json.dumps(model)}", *(overrides or [])]
    run = Run.create(folder, configuration.from_overrides(settings, base=Path.cwd()))
    print(f"wrote {run.config_file}")
    print(f"next: adaptinf add {folder} DATA.json --images FOLDER, then adaptinf step {folder}")


def run(
    stream: Annotated[Path, typer.Argument(help="stream.yaml, or the config.yaml of another run.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/<name of the file> if left out.")] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Take a whole stream through the loop; after a crash the same command goes on where it stopped."""
    from adaptinf import config as configuration
    from adaptinf.cli.progress import make_progress
    from adaptinf.runs import Run, preflight
    from adaptinf.runs.layout import CONFIG, POOL
    from adaptinf.storage import store

    config = configuration.load(stream, overrides).model_copy(update={"made_by": None})
    is_own_config = stream.name == CONFIG and (stream.parent / POOL).is_dir()
    folder = out or (stream.parent if is_own_config else Path("runs") / stream.stem)
    preflight.check(config, whole_stream=True)
    _print_notes(preflight.unused(config))
    with store.lock(folder):
        prepared = Run.create(folder, config, progress=make_progress(quiet=quiet))
        calm_transformers()
        from adaptinf.pipeline import run_all

        run_all(prepared)
    _show_run(prepared)


def add(
    folder: RunFolder,
    data: DataPath,
    images: Images = None,
    name: Annotated[str | None, typer.Option(help="Short name; the name of the file if left out.")] = None,
    format: Format = None,
    quiet: Quiet = False,
) -> None:
    """A new dataset arrives: read it into the pool; `step` learns it."""
    from adaptinf import config as configuration
    from adaptinf.cli.progress import make_progress
    from adaptinf.runs import Run
    from adaptinf.runs.stream import join

    if not data.exists():
        raise ConfigError(f"{data} does not exist")
    image_folder = None if images is None else str(images.resolve())
    dataset = configuration.parse_dataset(
        {"name": name or _name_from(data), "path": str(data.resolve()), "images": image_folder, "format": format}
    )
    with Run.locked(folder, progress=make_progress(quiet=quiet)) as opened:
        run = opened.with_dataset(dataset)
        with run.plugins():
            info = join(run, len(run.config.stream) - 1)
        # Only now: a dataset that cannot be read must not stand in the way of the next one.
        run.write_config()
    print(f"{dataset.name}: {info['rows']} samples added, {info['rejected']} rejected; next: adaptinf step {folder}")


def step(folder: RunFolder, quiet: Quiet = False) -> None:
    """Learn the oldest dataset that waits: extract, cluster, select, train, evaluate, prune."""
    from adaptinf.cli.progress import make_progress
    from adaptinf.runs import Run, preflight

    with Run.locked(folder, progress=make_progress(quiet=quiet)) as run:
        number = run.num_finished
        if number >= len(run.config.stream):
            raise ConfigError(
                f"{folder}: all {number} datasets are learnt; bring a new one with adaptinf add {folder} DATA"
            )
        preflight.check(run.config, whole_stream=False)
        _print_notes(preflight.unused(run.config))
        calm_transformers()
        from adaptinf.pipeline import run_step

        run_step(run, number)
    _show_run(run)


def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Steps, pool, disk, what is done, what is left and how long it will take."""
    from adaptinf.cli import console
    from adaptinf.runs import Run
    from adaptinf.runs.status import status_of

    found = status_of(Run.open(folder))
    if as_json:
        print_json(found)
    else:
        console.show_status(found)


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders; several are compared on one page.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; report.html in the runs' folder if left out.")
    ] = None,
) -> None:
    """Write one HTML file that shows what runs did and why; it opens offline."""
    from adaptinf.report import write_report
    from adaptinf.runs.layout import REPORT

    # One run keeps its report; that of several stands where they stand together.
    home = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    print(write_report(folders, out or home / REPORT))


def _name_from(data: Path) -> str:
    """Return a dataset's name made from its file's: what a name may not hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", data.stem).strip("-._") or "dataset"


def _print_notes(lines: list[str]) -> None:
    for line in lines:
        print(f"note: {line}", file=sys.stderr)  # like progress and errors: the output is the table alone


def _show_run(run: Any) -> None:
    from adaptinf.cli.console_tables import show_summary
    from adaptinf.report import write_report
    from adaptinf.results.summary import summary_rows
    from adaptinf.words import counted

    if run.config.evaluation:
        show_summary(*summary_rows([run]))
    else:
        print(
            f"{counted(run.num_finished, 'step')} finished; no skill is tested: "
            "list some under `evaluation:` to see accuracies"
        )
    page, log = run.report_file, run.events_file
    # A finished run is left as it is: its report is written anew only when something has happened since.
    if not page.exists() or page.stat().st_mtime_ns < log.stat().st_mtime_ns:
        write_report([run.folder], page)
    print(f"\nrun folder: {run.folder}\nreport: {page}")


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (init, run, add, step, status, report):
        app.command()(command)
