"""Adding the next dataset of a run's stream to its pool."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adaptinf.config import DatasetConfig
from adaptinf.data import Checked
from adaptinf.data.checked import CONTENT
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.executors import Work, Workers, make_executor
from adaptinf.executors.interface import OpenReaders, ReadPaths
from adaptinf.executors.processes import open_readers
from adaptinf.formats.reading import Reading, prepared_entry
from adaptinf.formats.unread_images import NAME_IMAGES, may_be_image
from adaptinf.pool.content import is_former
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.pool.intake import STAGE, add_chunks, add_dataset, comparable_content_of, content_of_rows
from adaptinf.pool.stored import StoredDataset, dataset_info
from adaptinf.progress import Progress
from adaptinf.runs import Run
from adaptinf.runs.usable import first_findings
from adaptinf.scoring.columns import column_of, columns_in
from adaptinf.storage import store
from adaptinf.words import counted, shortened

MAX_NAME = 64
"""Characters of a dataset's name."""
SHOWN_KEYS = 10
"""Keys that nothing reads and that are named when a dataset joins; info.json has all of them."""

FIRST_ROWS = 1000
"""Rows at the beginning of a dataset whose values are looked at when it joins."""
SHOWN_REASON = 200
"""Characters of why a row is rejected."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """A dataset that was added to a run."""

    folder: Path
    """The run folder."""
    name: str
    """Name of the dataset."""
    step: int
    """Number of the step that will train on it."""
    num_samples: int
    """Samples that are in the pool now."""
    num_rejected: int
    """Rows that cannot be used; rejected.jsonl in the dataset's folder has the reasons."""
    num_repaired: int
    """Samples that the reader had to change; repaired.jsonl has what it did."""
    findings: tuple[str, ...] = ()
    """What the model cannot use of the first samples, one line each; the step looks at all of them."""


def add(run: Run, dataset: DatasetConfig) -> Added:
    """Add one more dataset to the end of a run's stream and its samples to the pool.

    The caller holds the run's lock (`Run.locked`).

    Raises:
        ConfigError: the name is taken.
        DataError: the file cannot be read, has a bad row under `on_bad_row: stop`, or no row that can be used; nothing
            has changed then.
        StoreError: a dataset that the pool has is damaged; nothing has changed then.
    """
    run, step = run.with_dataset(dataset), len(run.config.stream)
    with run.plugins():
        # The whole pool is read below, so one that is damaged is refused before anything is written.
        run.pool(step - 1)
        info = join(run, step, needs_rows=True, readers=partial(_readers_of, run))
        findings = first_findings(run, step)
    # Only now: a dataset that cannot be read must not stand in the way of the next one.
    run.write_config()
    return Added(
        folder=run.folder,
        name=dataset.name,
        step=step,
        num_samples=info["rows"],
        num_rejected=info["rejected"],
        num_repaired=info["repaired"],
        findings=tuple(findings),
    )


def name_from(source: str, subset: str | None = None) -> str:
    """Return a dataset's name made from its source's and subset's: what a name may not hold becomes a dash."""
    text = source if subset is None else f"{source}-{subset}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:MAX_NAME].strip("-._") or "dataset"


@contextmanager
def _readers_of(
    run: Run, work: Work[Any], number: int, on_progress: Callable[[int], None], reads: ReadPaths
) -> Iterator[Workers[Any]]:
    """Yield workers as `open_readers` does; where the run's executor cannot read, a line says that this machine does.

    A dataset may be added where no step could run, such as on the login node of a cluster.
    """
    with ExitStack() as stack:
        opened = None
        if number > 1:
            try:
                executor = stack.enter_context(closing(make_executor(run.settings)))
                opened = stack.enter_context(open_readers(work, number, on_progress, reads, executor))
            except ConfigError as error:
                run.progress.note(f"{error}; this machine reads the dataset by itself")
        yield opened or stack.enter_context(open_readers(work, number, on_progress, reads))


def join(run: Run, step: int, *, needs_rows: bool = False, readers: OpenReaders = open_readers) -> dict[str, Any]:
    """Add dataset number `step` to the pool, unless it is there, and return its info.json.

    Args:
        run: the run.
        step: number of the dataset.
        needs_rows: whether a dataset without a row that can be used is refused; in a stream it is a step without news.
        readers: opens the work of reading.

    Raises:
        DataError: the file cannot be read, or has a bad row under `on_bad_row: stop`.
    """
    if not run.dataset_folder(step).exists():
        _make_dataset(run, step, needs_rows, readers)
    info = dataset_info(run.dataset_folder(step))
    # Also where it is there: a process that made it may have been killed before this line.
    run.log_metrics(step, STAGE, {"rows": info["rows"], "rejected": info["rejected"], "repaired": info["repaired"]})
    return info


def _make_dataset(run: Run, step: int, needs_rows: bool, readers: OpenReaders) -> None:
    """Make the folder of dataset number `step`, and say what is worth knowing about its rows."""
    folder, dataset = run.dataset_folder(step), run.settings.stream[step]
    _refuse_other_dataset(run, step)
    reading = _reading(run, step)
    with run.shared(step, STAGE, folder):
        if not folder.exists():
            _add(run, step, reading, needs_rows, readers)
    info = dataset_info(folder)
    if info["rejected"]:
        rejected = counted(info["rejected"], "row")
        run.progress.note(f"{dataset.name}: {rejected} rejected, see {folder / store.REJECTED}")
    for line in _said_once(info, {column_of(name) for name in columns_in(run.selection_options.values())}):
        run.progress.note(f"{dataset.name}: {line}")
    if names := _keys_of_images(StoredDataset(step, dataset.name, folder), info):
        keys = ", ".join(shortened(key, 80) for key in names[:SHOWN_KEYS])
        run.progress.note(f"{dataset.name}: values of {keys} look like images, which nothing reads; {NAME_IMAGES}")


def _reading(run: Run, step: int) -> Reading | None:
    """Return how to read a step's dataset; None: it was withdrawn before its step, which it keeps without rows."""
    dataset, data = run.settings.stream[step], run.settings.data
    if dataset.name in withdrawn_datasets(run.pool_folder, until=step):
        return None
    return prepared_entry(dataset, data, source=dataset.name, seed=run.settings.seed)


def _said_once(info: dict[str, Any], columns: Set[str | None]) -> Iterator[str]:
    """Yield what is worth knowing about the rows of a dataset as a whole; `columns` are those that are scores."""
    if not info["rows"]:
        yield "not one of its rows can be used, so its step has nothing new to learn"
    shards = info.get("shards", ())
    if empty := [shortened(shard["name"], 80) for shard in shards if not shard["rows"]]:
        more = ", ..." if len(empty) > SHOWN_KEYS else ""
        yield f"{len(empty):,} of {counted(len(shards), 'file')} without a row: {', '.join(empty[:SHOWN_KEYS])}{more}"
    unread = {key: count for key, count in (info.get("unread") or {}).items() if key not in columns}
    if unread:
        keys = [f"{shortened(key, 80)} ({count:,})" for key, count in unread.items()]
        yield f"keys of rows that nothing reads: {', '.join(keys[:SHOWN_KEYS])}"
    if info.get("reduced"):
        yield f"images of more than data.max_pixels pixels are decoded smaller: {counted(info['reduced'], 'sample')}"
    for kind, count in info.get("scalings", {}).items():
        yield f"images of more than 8 bits, {kind}, are scaled to 8: {counted(count, 'sample')}"


def _keys_of_images(dataset: StoredDataset, info: Mapping[str, Any]) -> list[str]:
    """Return the keys that nothing reads and that name images in the first rows of a dataset."""
    if not info.get("unread"):
        return []
    first = dataset.table.slice(0, FIRST_ROWS)["meta"].to_pylist()
    metas = [json.loads(meta["extra"]) for meta in first if meta["extra"]]
    return list(dict.fromkeys(key for meta in metas for key, value in meta.items() if may_be_image(value)))


def _add(run: Run, step: int, reading: Reading | None, needs_rows: bool, readers: OpenReaders) -> None:
    """Write the dataset's folder."""
    folder, dataset = run.dataset_folder(step), run.settings.stream[step]
    part = store.begin(folder)
    write = (
        partial(add_dataset, name=dataset.name, rows=())
        if reading is None
        else partial(add_chunks, reading=reading, readers=readers)
    )
    with run.logged(step, STAGE, part):
        info = write(
            run.pool_folder,
            step,
            images=run.settings.data.images,
            on_bad_row=run.settings.data.on_bad_row,
            allow_broken=dataset.allow_broken,
            part=part,
            progress=run.progress,
            origin=_origin(dataset),
        )
    if needs_rows and not info["rows"]:
        raise DataError(_nothing_to_learn(dataset, info, part))
    _refuse_other_content(run, step, part)
    store.finish(folder)


def _nothing_to_learn(dataset: DatasetConfig, info: Mapping[str, Any], part: Path) -> str:
    """Return why a dataset does not join that has no row to learn from."""
    with (part / store.REJECTED).open(encoding="utf-8") as file:
        line = file.readline()
    if not line:
        return f"{dataset.path} has no row, so {dataset.name} does not join the pool; check the path"
    row = json.loads(line)
    reason = shortened(f"row {row['row']} of {row['file']}: {row['reason']}", SHOWN_REASON)
    return (
        f"not one of {counted(info['rejected'], 'row')} of {dataset.path} can be used, so {dataset.name} does not join "
        f"the pool ({reason}); adaptinf validate lists the reasons"
    )


def _origin(dataset: DatasetConfig) -> dict[str, Any]:
    """Return what the dataset's folder in the pool says about where its rows come from."""
    columns = {} if dataset.columns is None else {"columns": dataset.columns.named}
    return {"path": dataset.path, "image_folder": dataset.images, "format": dataset.format, **columns}


def _refuse_other_content(run: Run, step: int, part: Path) -> None:
    """Refuse rows that are not those that a step has worked with: its dataset was lost, and is made again."""
    recorded = recorded_content(run, step)
    found = comparable_content_of(part, recorded)
    if recorded is not None and recorded != found:
        path = run.settings.stream[step].path
        raise StoreError(
            f"{path} gives other rows (content {found}) than those that step {step} worked with ({recorded}); "
            f"bring back a copy of {run.dataset_folder(step)}, or the former files"
        )


def content_of_source(run: Run, step: int, progress: Progress, *, like: str | None = None) -> str:
    """Return the hash of the rows that a dataset's file gives now; nothing is written.

    Args:
        run: the run.
        step: number of the dataset's step.
        progress: where to report.
        like: the hash that it is to be compared with, which may be one of an earlier version.

    Raises:
        DataError: the file, or an image that would be copied, cannot be read.
    """
    reading = _reading(run, step)
    rows = iter(()) if reading is None else reading.samples()
    former = like is not None and is_former(like)
    with progress.stage(f"read {run.settings.stream[step].name}", None, "rows") as bar:
        return content_of_rows(rows, images=run.settings.data.images, on_row=bar.advance, former=former)


def recorded_content(run: Run, step: int) -> str | None:
    """Return the hash of the rows that a step worked with; None where it did not note it, as version 0.1."""
    return Checked.load_info(run.stage_folder(step, Checked)).get(CONTENT) if run.has(step, Checked) else None


def _refuse_other_dataset(run: Run, step: int) -> None:
    """Refuse a step that another dataset occupies: an `add` was killed before it recorded its dataset."""
    wanted = run.dataset_folder(step)
    for folder in run.pool_folder.glob(f"{step:02d}-*"):
        if folder != store.part_of(wanted) and not folder.name.endswith(".part") and folder.is_dir():
            name = folder.name.partition("-")[2]
            raise StoreError(
                f"{folder} is in the pool, but {run.config_file} does not list it (an `add` was killed); "
                f"add it again with --name {name}, or delete that folder"
            )
