"""The commands about what runs have done: show it, explain it, export it, correct the pool."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adaptinf.api.paths import PathLike, path_or_none, path_tuple
from adaptinf.errors import ConfigError
from adaptinf.progress import Progress, Silent, in_one

if TYPE_CHECKING:
    from adaptinf.history.export import Exported
    from adaptinf.history.items import ItemHistory
    from adaptinf.history.records import SampleHistory
    from adaptinf.model_export import ExportedModel
    from adaptinf.results.outcomes import WrittenReport
    from adaptinf.runs import Run
    from adaptinf.runs.overrule import Correction


def report(
    folders: PathLike | Sequence[PathLike],
    *,
    out: PathLike | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> WrittenReport:
    """Write one HTML file that shows what runs did and why; it opens offline.

    Args:
        folders: one run folder, or several, which are compared on one page.
        out: file to write; None: report.html in the run's folder, that of several where they stand together.
        verify: compare the files of the runs with their checksums; False is recorded in their events.jsonl.
        progress: where to report.

    Raises:
        ConfigError: no folder is given, or one is not a run folder.
        StoreError: a file of a run is damaged.
    """
    from adaptinf.report import write_report
    from adaptinf.results.outcomes import WrittenReport
    from adaptinf.runs import Run, unchecked
    from adaptinf.runs.damage import check_complete
    from adaptinf.runs.layout import REPORT

    paths = path_tuple(folders)
    if not paths:
        raise ConfigError("a report needs one run folder at least")
    home = Path(os.path.commonpath([path.absolute() for path in paths]))
    runs = [Run.open(path) for path in paths]
    for run in runs if verify else ():
        check_complete(run)
    title = in_one(progress or Silent(), "write the report", len(runs), "runs")
    with unchecked.reading("report", *runs, verify=verify), title:
        page = write_report(paths, home / REPORT if out is None else Path(out))
    return WrittenReport(path=page, folders=paths)


def explain(folder: PathLike, id: str, *, verify: bool = True) -> SampleHistory:
    """Return a sample's history: scores, cluster, whether and why it was selected, trained on, pruned.

    `verify` as in `report`.

    Raises:
        ConfigError: there is no such run, or nothing in it has this id; similar ones are named.
        StoreError: a file of the run is damaged.
    """
    from adaptinf.history.explain import sample_history

    with _to_explain(folder, verify=verify) as run:
        return sample_history(run, id)


def explain_test(folder: PathLike, id: str, *, verify: bool = True) -> ItemHistory:
    """Return every answer to one test item: prompt, prediction, allowed answers, both scores, reason to stop.

    `verify` as in `report`.

    Raises:
        ConfigError: there is no such run, or no test of it has this id; similar ones are named.
        StoreError: a file of the run is damaged.
    """
    from adaptinf.history.items import item_history

    with _to_explain(folder, verify=verify) as run:
        return item_history(run, id)


@contextmanager
def _to_explain(folder: PathLike, *, verify: bool) -> Iterator[Run]:
    """Yield a run of which nothing is gone, or, without `verify`, as it is, which is recorded."""
    from adaptinf.runs import Run, unchecked
    from adaptinf.runs.damage import check_complete

    opened = Run.open(Path(folder))
    if verify:
        check_complete(opened)
    with unchecked.reading("explain", opened, verify=verify):
        yield opened


def export(
    folder: PathLike,
    *,
    step: int,
    format: str = "messages",
    out: PathLike | None = None,
    images: Literal["embed", "copy", "reference"] | None = None,
    ids: PathLike | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Write the samples that a step selected, for any other trainer: data, ids, scores, and a manifest.

    Args:
        folder: the run folder.
        step: number of the step, from 0.
        format: name of the format to write.
        out: the new folder; None: FOLDER/exports/STEP-FORMAT.
        images: `embed` writes Parquet that holds them, `copy` copies them into the folder, `reference` writes paths to
            your files; None: `reference` for images that are files, `copy` for those that the pool holds.
        ids: a file with one id per line, which are exported in place of what the step selected.
        verify: compare the files of the run with their checksums; False is recorded in events.jsonl and the manifest.
        progress: where to report.

    Raises:
        ConfigError: there is no such run, step or format, or `out` exists.
        DataError: an id is not in the step's pool, an image cannot be copied, or a text holds a literal image tag.
    """
    from adaptinf.history.export import export_selection
    from adaptinf.runs import Run, unchecked
    from adaptinf.runs.damage import check_complete

    opened = Run.open(Path(folder))
    if verify:
        check_complete(opened)
    target = opened.export_folder(step, format) if out is None else Path(out)
    with unchecked.reading("export", opened, verify=verify):
        return export_selection(opened, step, format, target, images=images, ids=path_or_none(ids), progress=progress)


def export_model(
    folder: PathLike,
    *,
    out: PathLike,
    step: int | None = None,
    merge: bool = False,
    check: bool = True,
    progress: Progress | None = None,
) -> ExportedModel:
    """Write the model after a step as an ordinary Hugging Face folder with a model card, to load and serve anywhere.

    Args:
        folder: the run folder.
        out: the new folder; an empty one may stand there.
        step: number of the step, from 0; None: the last finished one.
        merge: write whole weights in the base model's own type, with the adapter merged into them; False: what the step
            trained, an adapter or the weights of full tuning.
        check: load an adapter again, as its users will, and compare its logits with those of the tested model. Whole
            weights are always compared.
        progress: where to report.

    Raises:
        ConfigError: there is no such run or finished step, `out` is not empty, the disk has no room, or the adapter
            alone is not the model, as it belongs on one that others are merged into.
        ModelError: the model cannot be loaded, the base model is quantised and shall be merged into, or the folder
            would be another model than the one that was tested.
        StoreError: the base model has changed, or a file of the run is missing or damaged.
    """
    from adaptinf import model_export
    from adaptinf.models.quiet import quiet_libraries
    from adaptinf.runs import Run

    opened = Run.open(Path(folder), progress=progress)
    with quiet_libraries():
        return model_export.export_model(opened, step, Path(out), merge=merge, check=check, progress=progress)


def exclude(folder: PathLike, ids: PathLike, *, why: str = "") -> Correction:
    """Take samples out of the pool: later steps neither select nor prune them; what was learnt of them stays.

    Args:
        folder: the run folder.
        ids: a file with one id per line, or an id.
        why: the reason, which `explain` and the report show.

    Raises:
        ConfigError: there is no such run, or an id is unknown or that of a rejected row; nothing has changed then.
        DataError: the file cannot be read.
        StoreError: another process uses the run.
    """
    from adaptinf.runs import Run, overrule

    with Run.locked(Path(folder)) as opened:
        return overrule.exclude(opened, os.fspath(ids), why=why)


def restore(folder: PathLike, id: PathLike) -> Correction:
    """Undo the last thing that took a sample out of the pool, or those of a file with one id per line.

    Later steps find it in the pool. After a pruning none prunes it again; after an exclusion it is as any other.

    Raises:
        ConfigError: there is no such run or sample, it was never taken out, or its dataset is withdrawn.
        DataError: the file cannot be read.
        StoreError: another process uses the run.
    """
    from adaptinf.runs import Run, overrule

    with Run.locked(Path(folder)) as opened:
        return overrule.restore(opened, os.fspath(id))


def withdraw(folder: PathLike, name: str) -> Correction:
    """Remove a whole dataset from the pool: later steps neither select it nor count it as teaching a skill.

    Raises:
        ConfigError: there is no such run, or its stream has no dataset of that name.
        StoreError: another process uses the run.
    """
    from adaptinf.runs import Run, overrule

    with Run.locked(Path(folder)) as opened:
        return overrule.withdraw(opened, name)
