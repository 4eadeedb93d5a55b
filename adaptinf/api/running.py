"""The commands that work on a run folder: make a run, add datasets, run steps, look at its state."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from adaptinf.api.paths import PathLike, PathsLike, path_tuple
from adaptinf.errors import ConfigError, DataError, GateStopped, StoreError
from adaptinf.progress import Progress, Silent, in_one
from adaptinf.words import counted

if TYPE_CHECKING:
    from adaptinf.config import Overrides, RunConfig
    from adaptinf.live import Look
    from adaptinf.results.outcomes import RunResult
    from adaptinf.runs import Run
    from adaptinf.runs.status import Status
    from adaptinf.runs.stream import Added


def init(folder: PathLike, *, model: PathLike, data: PathLike | None = None, settings: Overrides | None = None) -> Run:
    """Make a run folder with a commented config.yaml, and return the run.

    Args:
        folder: the new run folder.
        model: Hugging Face folder or hub name of the model that learns.
        data: what the stream is made of: one dataset per subset, subfolder or group of files; None: it is empty.
        settings: `{"selection.budget": 1000}`, or as `--set` has them, `["selection.budget=1000"]`.

    Raises:
        ConfigError: the folder has a config.yaml already, or a setting is wrong.
        DataError: the data cannot be found.
        StoreError: another process makes a run there.
    """
    from adaptinf import config as configuration
    from adaptinf.runs import Run
    from adaptinf.runs.first_stream import stream_of, with_stream
    from adaptinf.runs.layout import CONFIG
    from adaptinf.storage import lock

    file = Path(folder) / CONFIG
    _refuse_file(file)
    changes = {"model.path": os.fspath(model), **configuration.as_settings(settings)}
    config = configuration.from_overrides(changes, base=Path.cwd())
    if data is not None:
        config = with_stream(config, stream_of(os.fspath(data)))
    with lock.held(Path(folder)):
        _refuse_file(file)  # another process may have made it meanwhile
        return Run.create(Path(folder), config)


def _refuse_file(file: Path) -> None:
    if file.exists():
        raise ConfigError(f"{file} exists already; edit it, or choose another folder")


def run(
    stream: PathLike,
    *,
    out: PathLike | None = None,
    settings: Overrides | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> RunResult:
    """Train on every dataset of a stream, one step each, and write the report; a second call resumes.

    Args:
        stream: stream.yaml, or the config.yaml of another run.
        out: run folder; None: runs/<name of the file>, for a run's own config.yaml its folder.
        settings: settings in place of the file's.
        verify: compare the files of finished stages with their checksums; False is recorded in events.jsonl.
        progress: where to report.

    Raises:
        ConfigError: a setting is wrong, a file is missing, or the folder was made with other settings.
        DataError: a dataset cannot be read, or has a bad row under `data.on_bad_row: stop`.
        ModelError: the model cannot be loaded or trained.
        StoreError: another process uses the folder, or a file of it is damaged.
        GateStopped: a skill has lost too much (`evaluation_gate`); the report is written.
    """
    from adaptinf.runs import Run, preflight, unchecked
    from adaptinf.runs.beating import beating
    from adaptinf.storage import lock

    config = _config_of(stream, settings)
    folder = _folder_of(Path(stream), config) if out is None else Path(out)
    preflight.check(config, whole_stream=True, folder=folder)
    progress = progress or Silent()
    notes = _noted(preflight.unused(config), progress)
    with lock.held(folder):
        # Again, as another process may have added a dataset to a run's own config.yaml before the lock was held.
        if (now := _config_of(stream, settings)) != config:
            preflight.check(now, whole_stream=True, folder=folder)
        prepared = Run.found(folder, now.model_copy(update={"made_by": None}), progress=progress)
        _check_moved(prepared)
        prepared.record_config()
        first = prepared.num_finished
        with beating(prepared) as prepared, unchecked.reading("run", prepared, verify=verify):
            _run_steps(prepared)
            return _result(prepared, first, notes)


def _config_of(stream: PathLike, settings: Overrides | None) -> RunConfig:
    from adaptinf import config as configuration

    return configuration.load(Path(stream), settings)


def _check_moved(run: Run) -> None:
    """Check model and tests of a run that has begun before another place of theirs is written to config.yaml."""
    from adaptinf.evaluation.skills import read_tests
    from adaptinf.runs.base import check_base
    from adaptinf.runs.same_tests import check_tests

    if run.base_file.exists() and run.has_other_config:
        with run.plugins():
            check_base(run)
            check_tests(run, read_tests(run.settings.evaluation, run.settings.data))


def _folder_of(stream: Path, config: RunConfig) -> Path:
    """Return where a stream is run unless its user says otherwise."""
    from adaptinf.runs.layout import CONFIG, POOL

    # `init` has written a config.yaml that has no pool beside it yet.
    is_own_config = stream.name == CONFIG and (config.made_by is not None or (stream.parent / POOL).is_dir())
    return stream.parent if is_own_config else Path("runs") / stream.stem


def add(
    folder: PathLike,
    data: PathLike,
    *,
    images: PathsLike | None = None,
    name: str | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    subset: str | None = None,
    split: str | None = None,
    max_rows: int | None = None,
    weight: float | None = None,
    allow_broken: bool = False,
    progress: Progress | None = None,
) -> Added:
    """Add a new dataset to a run: read it into the pool; `step` trains on it.

    Args:
        folder: the run folder.
        data: a file, a folder, a pattern, an address that fsspec opens, or a name of the hub.
        images: folder that image paths are relative to, or several; None: the file's folder.
        name: short name of the dataset; None: the name of the file.
        format: name of the format; None: detected.
        columns: columns of rows in no known format: {"question": "q", "answer": "a"}, also image, id and system.
        subset: which configuration, subfolder or entry of a dataset_info.json; None: the only one.
        split: which split; None: the only one.
        max_rows: rows that are taken at random; None: all.
        weight: multiplies its size when datasets share a budget (docs/replay.md); None: no weight.
        allow_broken: take the rows before the break of a file that cannot be read to its end.
        progress: where to report.

    Raises:
        ConfigError: there is no such run or file, the name is taken, or the format is unknown.
        DataError: the file cannot be read, or has a bad row under `data.on_bad_row: stop`; nothing has changed then.
        StoreError: another process uses the run.
    """
    from adaptinf import config as configuration
    from adaptinf.runs import Run, stream
    from adaptinf.sources import find_source

    place = os.fspath(data)
    try:
        found = find_source(place, subset=subset, split=split)
    except DataError as error:
        raise ConfigError(str(error)) from error
    dataset = configuration.parse_dataset(
        {
            "name": name or stream.name_from(found.name, subset),
            "path": place,
            "subset": subset,
            "split": split,
            "max_rows": max_rows,
            "weight": weight,
            "images": None if images is None else [str(folder.resolve()) for folder in path_tuple(images)],
            "format": format,
            "columns": None if columns is None else dict(columns),
            "allow_broken": allow_broken,
        }
    )
    dataset = configuration.resolve_dataset(dataset, Path.cwd())
    with Run.locked(Path(folder), progress=progress) as opened:
        return stream.add(opened, dataset)


def step(folder: PathLike, *, verify: bool = True, progress: Progress | None = None) -> RunResult:
    """Train on the oldest waiting dataset: extract, cluster, select, train, evaluate, prune; then write the report.

    `verify` and `progress` as in `run`.

    Raises:
        ConfigError: there is no such run, no dataset waits, or a setting is wrong.
        DataError: the dataset cannot be read.
        ModelError: the model cannot be loaded or trained.
        StoreError: another process uses the run, or a file of it is damaged.
        GateStopped: a skill has lost too much (`evaluation_gate`); the report is written.
    """
    from adaptinf.runs import Run, preflight, unchecked
    from adaptinf.runs.beating import beating
    from adaptinf.runs.expected import missing

    progress = progress or Silent()
    with Run.locked(Path(folder), progress=progress) as opened:
        number = opened.num_finished
        if number >= len(opened.config.stream) and not any(missing(opened)):
            raise ConfigError(
                f"{folder}: all {number} datasets are learnt; bring a new one with adaptinf add {folder} DATA"
            )
        preflight.check(opened.config, whole_stream=False, folder=opened.folder)
        notes = _noted(preflight.unused(opened.config), progress)
        with beating(opened) as opened, unchecked.reading("step", opened, verify=verify):
            _run_steps(opened, number + 1)
            return _result(opened, number, notes)


def _run_steps(run: Run, num_steps: int | None = None) -> None:
    """Run what waits of the first `num_steps` steps (None: of all), with only our own progress."""
    from adaptinf.models.quiet import quiet_libraries
    from adaptinf.report import write_report
    from adaptinf.runs.gates import check_gate

    check_gate(run, run.num_finished)
    try:
        with quiet_libraries():
            _run_waiting(run, num_steps)
    except GateStopped:
        write_report([run.folder], run.report_file)
        raise


def _run_waiting(run: Run, num_steps: int | None) -> None:
    """Run what waits, once the model was tried and images were looked for."""
    from adaptinf.pipeline import run_all
    from adaptinf.runs.base import check_base
    from adaptinf.runs.model_trial import tried
    from adaptinf.runs.relocate import missing_images

    if run.num_finished < len(run.config.stream):
        if run.base_file.exists():
            check_base(run)  # before the trial, which loads the model
        with run.plugins():
            _noted([*missing_images(run), *tried(run)], run.progress)
    run_all(run, num_steps=num_steps)


def _noted(notes: Iterable[str], progress: Progress) -> tuple[str, ...]:
    """Report notes at once, as the work may take hours, and return them."""
    found = tuple(notes)
    for line in found:
        progress.note(f"note: {line}")
    return found


def _result(run: Run, first: int, notes: tuple[str, ...]) -> RunResult:
    """Return what came of a run whose steps from `first` on are new, its report written.

    Raises:
        StoreError: a file of a finished step is damaged, which only the report reads.
    """
    from adaptinf.report import write_report
    from adaptinf.results.outcomes import RunResult, summarised_runs
    from adaptinf.runs import events

    page, log = run.report_file, run.events_file
    # Once, by the first command that ends after it, whatever was killed before.
    rolled_back = events.unreported_rollbacks(log)
    try:
        # A finished run is left as it is: its report is written anew only when something has happened since.
        if not page.exists() or page.stat().st_mtime_ns < log.stat().st_mtime_ns:
            with in_one(run.progress, "write the report", 1, "pages"):
                write_report([run.folder], page)
        summary = summarised_runs([run]) if run.config.evaluation else None
    except StoreError as error:
        raise StoreError(
            f"{counted(run.num_finished, 'step')} finished, and only the report is not written: {error}; then "
            f"adaptinf report {run.folder}"
        ) from error
    if rolled_back:
        # After the report: where it cannot be written, the next command still has to tell of the rollback.
        events.note_reported(log)
        page.touch()
    steps = tuple(range(first, run.num_finished))
    return RunResult(run=run, steps=steps, summary=summary, report=page, notes=notes, rolled_back=rolled_back)


def status(folder: PathLike) -> Status:
    """Return the state of a run: finished and waiting steps, pool, size on disk, time left.

    Raises:
        ConfigError: there is no such run.
        StoreError: a file of it is damaged.
    """
    from adaptinf.runs import Run
    from adaptinf.runs.status import status_of

    return status_of(Run.open(Path(folder)))


def watch(folder: PathLike, *, every: float = 2.0) -> Iterator[Look]:
    """Yield the state of a run, again and again until no process works on it; the last one says how it is then.

    A look every two seconds costs the run nothing: files of its folder are read, most of them only when a stage has
    begun or ended.

    Args:
        folder: the run folder.
        every: seconds between two looks.

    Raises:
        ConfigError: there is no such run, or `every` is not above 0.
        StoreError: a file of it is damaged.
    """
    from adaptinf.live import watch as looks_of
    from adaptinf.runs import Run

    if not every > 0:
        raise ConfigError(f"every={every!r} must be above 0: seconds between two looks")
    Run.open(Path(folder))
    return looks_of(Path(folder), every)
