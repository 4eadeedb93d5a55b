"""The commands that work on a run folder: make a run, add datasets, run steps, look at its state."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptinf import api
from adaptinf.cli.options import (
    AsJson,
    Columns,
    DataPath,
    Format,
    Images,
    MaxRows,
    NoVerify,
    Overrides,
    Quiet,
    RunFolder,
    Split,
    Subset,
    named_columns,
)
from adaptinf.cli.output import say, say_error, say_json, say_json_line

if TYPE_CHECKING:
    from adaptinf.results.outcomes import RunResult

GATE_CODE = 3
"""Exit code after a run that the gate has stopped, or a step of which it has rolled back."""
RECORDS_OF_STATUS = 100_000
"""Objects that `status` makes before garbage is looked for; it shows nothing for as long as that takes."""


def init(
    folder: Annotated[Path, typer.Argument(help="The run folder to make.")],
    model: Annotated[str, typer.Option(help="Hugging Face folder or hub name of the model to train.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--from", help="Folder, address or hub name; each subset, subfolder or group of files is a dataset."
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Make a run folder with a commented config.yaml, its stream empty or made of what --from names."""
    made = api.init(folder, model=model, data=data, settings=overrides)
    say(f"wrote {made.config_file}")
    if data is None:
        say(f"next: adaptinf add {folder} DATA.json --images FOLDER, then adaptinf step {folder}")
        return
    for dataset in made.config.stream:
        parts = [f"{key} {value}" for key in ("subset", "split") if (value := getattr(dataset, key))]
        say(f"  {dataset.name}: {', '.join([dataset.path, *parts])}")
    say(f"next: adaptinf run {made.config_file}")


def run(
    stream: Annotated[Path, typer.Argument(help="stream.yaml, or the config.yaml of another run.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/<name of the file> if left out.")] = None,
    overrides: Overrides = None,
    no_verify: NoVerify = False,
    quiet: Quiet = False,
) -> None:
    """Train on a whole stream, one step per dataset. Repeat the command to resume."""
    from adaptinf.cli.progress import make_progress

    progress = make_progress(quiet=quiet)
    _show_run(api.run(stream, out=out, settings=overrides, verify=not no_verify, progress=progress), quiet=quiet)


def add(
    folder: RunFolder,
    data: DataPath,
    images: Images = None,
    name: Annotated[str | None, typer.Option(help="Short name of the dataset; the file's name if left out.")] = None,
    format: Format = None,
    columns: Columns = None,
    subset: Subset = None,
    split: Split = None,
    max_rows: MaxRows = None,
    weight: Annotated[
        float | None, typer.Option(help="Multiplies its size when datasets share a budget; 0: never replayed.")
    ] = None,
    allow_broken: Annotated[
        bool, typer.Option("--allow-broken", help="Take the rows before the break of a file that is broken.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Add a new dataset to a run; `adaptinf step` trains on it."""
    from adaptinf.cli.progress import make_progress
    from adaptinf.words import counted

    progress = make_progress(quiet=quiet)
    added = api.add(
        folder,
        data,
        images=images,
        name=name,
        format=format,
        columns=named_columns(columns),
        subset=subset,
        split=split,
        max_rows=max_rows,
        weight=weight,
        allow_broken=allow_broken,
        progress=progress,
    )
    counts = f"{counted(added.num_samples, 'sample')} added, {added.num_rejected:,} rejected"
    say(f"{added.name}: {counts}; next: adaptinf step {folder}")
    for line in added.findings:
        say(f"  {line}")


def step(folder: RunFolder, no_verify: NoVerify = False, quiet: Quiet = False) -> None:
    """Train on the oldest waiting dataset. One step: extract, cluster, select, train, evaluate, prune."""
    from adaptinf.cli.progress import make_progress

    _show_run(api.step(folder, verify=not no_verify, progress=make_progress(quiet=quiet)), quiet=quiet)


def status(
    folder: RunFolder,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until no process works on the run.")] = False,
) -> None:
    """Show steps, pool, size on disk and time left."""
    from adaptinf.cli import console

    if watch:
        _watch(folder, as_json=as_json)
        return
    before = gc.get_threshold()
    # Thousands of steps have as many records, none of them in a cycle, and looking for one takes a sixth of the time.
    gc.set_threshold(RECORDS_OF_STATUS)
    try:
        found = api.status(folder)
    finally:
        gc.set_threshold(*before)
    if as_json:
        say_json(found.as_json())
    else:
        console.show_status(found)


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders; several are compared on one page.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; report.html in the runs' folder if left out.")
    ] = None,
    no_verify: NoVerify = False,
    quiet: Quiet = False,
) -> None:
    """Write one HTML page about one or several runs. It shows what they did and why, and opens offline."""
    from adaptinf.cli.progress import make_progress

    progress = make_progress(quiet=quiet)
    say(str(api.report(folders, out=out, verify=not no_verify, progress=progress).path))


def _show_run(result: RunResult, *, quiet: bool) -> None:
    from adaptinf.cli.console_tables import show_summary
    from adaptinf.words import counted

    if quiet:  # otherwise the progress has shown them, before the work began
        for line in result.notes:
            say(f"note: {line}", is_error=True)
    if result.summary is not None:
        show_summary(result.summary)
    else:
        say(
            f"{counted(result.run.num_finished, 'step')} finished; no skill is tested: "
            "list some under `evaluation:` to see accuracies"
        )
    say("", f"run folder: {result.folder}", f"report: {result.report}")
    if result.rolled_back:
        steps = ", ".join(map(str, result.rolled_back))
        say_error(f"evaluation_gate rolled back step {steps}: `adaptinf status {result.folder}` says why")
        raise typer.Exit(GATE_CODE)


def _watch(folder: Path, *, as_json: bool) -> None:
    """Show a run until no process works on it, then its state; as JSON, one line per look."""
    from adaptinf.cli import console
    from adaptinf.cli.watching import shown

    looks = api.watch(folder)
    if as_json:
        for look in looks:
            say_json_line(look.as_json())
        return
    console.show_status(shown(looks).status)
