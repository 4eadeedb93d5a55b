"""The command line: it talks to people, and is the only place that prints and exits."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import adaptinf
from adaptinf import cli_compare, cli_results
from adaptinf.cli_compare import REPORT_NAME
from adaptinf.cli_options import AsJson, Overrides, Quiet, RunFolder, calm_transformers, print_json
from adaptinf.errors import AdaptError, ConfigError

app = typer.Typer(
    name="adaptinf",
    help="Keep a vision-language model learning from a never-ending stream of instruction datasets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RESUMABLE = ("demo", "run", "add", "step", "compare")
"""Commands that go on where they were stopped; what they had finished is whole."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def main() -> None:
    """Run the command line.

    A user's mistake ends with one message and exit code 2, Ctrl-C with 130, a bug of ours with its traceback and 1.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        # Outside of standalone mode a command's `typer.Exit` comes back as a number, and so may Ctrl-C.
        code = app(standalone_mode=False) or 0
    except AdaptError as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        # A full disk or a folder that may not be written is the user's to mend; nothing finished is lost.
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    except Exception as error:  # click's usage errors know how to show themselves; everything else is our bug
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            _fail(error.format_message(), error.exit_code)
        traceback.print_exc()
        _fail("this is a bug in adaptinf; please report it with the lines above", 1)
    if code == INTERRUPTED:
        _fail(_stopped(sys.argv[1:]), INTERRUPTED)
    sys.exit(code)


def _stopped(words: list[str]) -> str:
    """Return what Ctrl-C means for a command."""
    is_resumable = words and words[0] in RESUMABLE
    return "stopped; the same command goes on where this one stopped" if is_resumable else "stopped"


def _fail(message: str, code: int) -> NoReturn:
    print(f"adaptinf: {message}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(adaptinf.__version__)
        raise typer.Exit()


cli_compare.register(app)


@app.command()
def init(
    folder: RunFolder,
    model: Annotated[str, typer.Option(help="Hugging Face folder or hub name of the model that learns.")],
    overrides: Overrides = None,
) -> None:
    """Make an empty run with a commented config.yaml."""
    from adaptinf import config as configuration
    from adaptinf.runs import CONFIG_NAME, Run

    if (folder / CONFIG_NAME).exists():
        raise ConfigError(f"{folder / CONFIG_NAME} exists already; edit it, or choose another folder")
    settings = [f"model.path={json.dumps(model)}", *(overrides or [])]
    run = Run.create(folder, configuration.from_overrides(settings, base=Path.cwd()))
    print(f"wrote {run.folder / CONFIG_NAME}")
    print(f"next: adaptinf add {folder} DATA.json --images FOLDER, then adaptinf step {folder}")


@app.command()
def validate(
    data: Annotated[Path, typer.Argument(help="Dataset: a file or a folder.")],
    images: Annotated[Path | None, typer.Option(help="Folder that picture paths are relative to.")] = None,
    format: Annotated[str | None, typer.Option(help="Format; detected if left out.")] = None,
    model: Annotated[str | None, typer.Option(help="Model folder, for token lengths and the answer mask.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read a dataset before any GPU time: counts, and every bad row with its reason."""
    from adaptinf import console
    from adaptinf.progress import make_progress
    from adaptinf.validation import token_report, validate

    progress = make_progress(quiet=quiet or as_json)
    findings = validate(str(data), images=str(images) if images else None, format=format, progress=progress)
    report = findings.as_dict()
    if model is not None:
        calm_transformers()
        report["tokens"] = token_report(findings, model)
    if as_json:
        print_json(report)
    else:
        console.show_findings(data, findings, report.get("tokens"))


@app.command()
def run(
    stream: Annotated[Path, typer.Argument(help="stream.yaml, or the config.yaml of another run.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/<name of the file> if left out.")] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Take a whole stream through the loop; after a crash the same command goes on where it stopped."""
    from adaptinf import config as configuration
    from adaptinf import preflight, store
    from adaptinf.progress import make_progress
    from adaptinf.runs import CONFIG_NAME, Run

    config = configuration.load(stream, overrides).model_copy(update={"made_by": None})
    is_own_config = stream.name == CONFIG_NAME and (stream.parent / "pool").is_dir()
    folder = out or (stream.parent if is_own_config else Path("runs") / stream.stem)
    preflight.check(config, whole_stream=True)
    with store.lock(folder):
        prepared = Run.create(folder, config, progress=make_progress(quiet=quiet))
        calm_transformers()
        from adaptinf.pipeline import run_all

        run_all(prepared)
    _show_run(prepared)


@app.command()
def add(
    folder: RunFolder,
    data: Annotated[Path, typer.Argument(help="Dataset: a file or a folder.")],
    images: Annotated[Path | None, typer.Option(help="Folder that picture paths are relative to.")] = None,
    name: Annotated[str | None, typer.Option(help="Short name; the name of the file if left out.")] = None,
    format: Annotated[str | None, typer.Option(help="Format; detected if left out.")] = None,
    quiet: Quiet = False,
) -> None:
    """A new dataset arrives: read it into the pool; `step` learns it."""
    from adaptinf import config as configuration
    from adaptinf import store
    from adaptinf.joining import join
    from adaptinf.progress import make_progress
    from adaptinf.runs import Run

    if not data.exists():
        raise ConfigError(f"{data} does not exist")
    Run.open(folder)
    picture_folder = None if images is None else str(images.resolve())
    dataset = configuration.parse_dataset(
        {"name": name or _name_from(data), "path": str(data.resolve()), "images": picture_folder, "format": format}
    )
    with store.lock(folder):
        run = Run.open(folder, progress=make_progress(quiet=quiet))
        run.load_plugins()
        run = run.with_dataset(dataset)
        info = join(run, len(run.config.stream) - 1)
        # Only now: a dataset that cannot be read must not stand in the way of the next one.
        run.write_config()
    print(f"{dataset.name}: {info['rows']} samples added, {info['rejected']} rejected; next: adaptinf step {folder}")


@app.command()
def step(folder: RunFolder, quiet: Quiet = False) -> None:
    """Learn the oldest dataset that waits: extract, cluster, select, train, evaluate, prune."""
    from adaptinf import preflight, store
    from adaptinf.progress import make_progress
    from adaptinf.runs import Run

    Run.open(folder)
    with store.lock(folder):
        run = Run.open(folder, progress=make_progress(quiet=quiet))
        number = run.num_finished
        if number >= len(run.config.stream):
            raise ConfigError(
                f"{folder}: all {number} datasets are learnt; bring a new one with adaptinf add {folder} DATA"
            )
        preflight.check(run.config, whole_stream=False)
        calm_transformers()
        from adaptinf.pipeline import run_step

        run_step(run, number)
    _show_run(run)


@app.command()
def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Steps, pool, disk, what is done, what is left and how long it will take."""
    from adaptinf import console
    from adaptinf.runs import Run
    from adaptinf.status import status_of

    found = status_of(Run.open(folder))
    if as_json:
        print_json(found)
    else:
        console.show_status(found)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders; several are compared on one page.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; report.html in the runs' folder if left out.")
    ] = None,
) -> None:
    """Write one HTML file that shows what runs did and why; it opens offline."""
    from adaptinf.report import write_report

    # One run keeps its report; that of several stands where they stand together.
    home = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    print(write_report(folders, out or home / REPORT_NAME))


@app.command()
def select(
    budget: Annotated[int, typer.Option(help="Samples to choose.", min=0)],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    scores: Annotated[Path | None, typer.Argument(help="Parquet table: ids, and a column of numbers a score.")] = None,
    vectors: Annotated[Path | None, typer.Option(help=".npy, one row a sample in the table's order.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help=".npy, one row a sample in the table's order.")] = None,
    method: Annotated[str, typer.Option(help="Selector; `adaptinf list` names them.")] = "adapt",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="An option of the method: sampling=top")] = None,
    clusters: Annotated[str | None, typer.Option(help="Clusters of k-means: a number, or auto.")] = None,
    labels: Annotated[str, typer.Option(help="Column of the table with clusters, if it has one.")] = "cluster",
    ids: Annotated[str, typer.Option(help="Column of the table with ids.")] = "id",
    seed: Annotated[int, typer.Option(help="Of clusters and draws; another one for every draw.", min=0)] = 0,
    plugins: Annotated[list[Path] | None, typer.Option(help="A file of yours with a selector.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose from somebody else's scores and vectors, without a model: ids and the reasons into a folder."""
    from adaptinf import config as configuration
    from adaptinf import console
    from adaptinf.choosing import Request, choose_into

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


@app.command(name="list")
def list_plugins(
    plugins: Annotated[list[Path] | None, typer.Option(help="A plug-in file of yours to list as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Name the formats, scorers, selectors and metrics, built-in and yours."""
    from adaptinf import console, registry

    registry.load_plugins(plugins or [])
    kinds = (registry.dataset_format, registry.scorer, registry.selector, registry.metric)
    found = {kind.kind: {name: console.first_line(kind[name]) for name in kind.names()} for kind in kinds}
    if as_json:
        print_json(found)
    else:
        console.show_plugins(found)


@app.command()
def doctor(
    stream: Annotated[Path | None, typer.Argument(help="stream.yaml: look at its model and data as well.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs would be written, for the free disk.")] = Path("runs"),
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check the environment; with a stream also that extraction is exact with its model, how fast, and how long."""
    from adaptinf import config as configuration
    from adaptinf import console, preflight
    from adaptinf.doctor import examine
    from adaptinf.progress import make_progress

    if overrides and stream is None:
        raise ConfigError("--set changes a setting of a stream; name its file: adaptinf doctor stream.yaml --set ...")
    config = None if stream is None else configuration.load(stream, overrides)
    checks = examine(out)
    if config is not None:
        preflight.check(config, whole_stream=True)
        calm_transformers()
        from adaptinf.checkup import check_model

        checks += check_model(config, out=out, progress=make_progress(quiet=quiet or as_json))
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        console.show_checks(checks)
    if not all(check.is_good for check in checks):
        raise typer.Exit(2)


def _name_from(data: Path) -> str:
    """Return a dataset's name made from its file's: what a name may not hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", data.stem).strip("-._") or "dataset"


def _show_run(run: Any) -> None:
    from adaptinf import console
    from adaptinf.comparison import summary_rows
    from adaptinf.report import write_report

    if run.config.evaluation:
        console.show_summary(*summary_rows([run]))
    else:
        print(f"{run.num_finished} steps finished; no skill is tested: list some under `evaluation:` to see accuracies")
    page, log = run.folder / REPORT_NAME, run.folder / "events.jsonl"
    # A finished run is left as it is: its report is written anew only when something has happened since.
    if not page.exists() or page.stat().st_mtime_ns < log.stat().st_mtime_ns:
        write_report([run.folder], page)
    print(f"\nrun folder: {run.folder}\nreport: {page}")


cli_results.register(app)


if __name__ == "__main__":
    main()
