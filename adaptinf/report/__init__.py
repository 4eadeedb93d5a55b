"""Saved run folders -> one HTML file that opens anywhere, offline: `adaptinf report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptinf.errors import ConfigError
from adaptinf.report.answer import baseline_of, subject_of
from adaptinf.report.answered import answers_figure
from adaptinf.report.composition import composition_figure
from adaptinf.report.costs import ages_figure, cost_figure, pool_figure
from adaptinf.report.facts import gather
from adaptinf.report.gallery import gallery_figure, pairs_figure
from adaptinf.report.headline import answers
from adaptinf.report.lost import losses_figure, lost_table
from adaptinf.report.rendering import Page, rendered
from adaptinf.report.retention import retention
from adaptinf.report.samples import detailed
from adaptinf.report.scorers import histogram_figure, scorer_figure
from adaptinf.report.skills import accuracy_figure, heat_map, matrix_figure
from adaptinf.report.table import summary_table
from adaptinf.report.thumbnails import Album
from adaptinf.report.training import training_figure
from adaptinf.report.vector_map import map_figure
from adaptinf.runs import Run
from adaptinf.runs.layout import REPORT
from adaptinf.storage import store

__all__ = ["write_report"]

MAX_TIMES = 3
"""Times that a page is made while runs finish steps: a page of fewer steps must not replace that of the run itself."""
MAX_DETAILED = 6
"""Runs whose single samples are shown; with more runs, each would have too few images."""


def write_report(run_folders: Sequence[Path], out: Path, *, names: Sequence[str] | None = None) -> Path:
    """Write one self-contained HTML file about one or several runs, and return its path.

    The page is made from the run folders alone: no model is loaded, and only a projection of the vectors is computed.
    Runs that differ only in the seed count as one method, with 95 % intervals. If a run lacks data for a figure, the
    page gives the reason. The file appears when it is complete, and has at most 12 MB.

    Args:
        run_folders: run folders in the order of the page; the first screen is about the first that is not a baseline.
        out: the file to write; its folder is created.
        names: name of the method of each run; runs with the same name are its seeds. None: from the run folders.

    Raises:
        ConfigError: no folder is given, or one is not a run folder; or `out` is a folder.
        StoreError: a file of a run is damaged.
    """
    if not run_folders:
        raise ConfigError("a report needs at least one run folder")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; give the file to write, such as {out / REPORT}")
    folders = [Path(folder) for folder in run_folders]
    out.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(MAX_TIMES):
        steps = _num_finished(folders)
        store.write_text_whole(out, rendered(_page(folders, names)))
        if _num_finished(folders) == steps:
            break
    return out


def _num_finished(folders: Sequence[Path]) -> list[int]:
    return [Run.open(folder).num_finished for folder in folders]


def _page(folders: Sequence[Path], names: Sequence[str] | None) -> Page:
    facts = gather(folders, names)
    shown, album = detailed(facts, MAX_DETAILED), Album()
    table = summary_table(facts)
    # The page holds a limited number of images: pairs and galleries get theirs first, the dots of the map last.
    sample_figures = [pairs_figure(shown, album), gallery_figure(shown, album), map_figure(shown, album)]
    figures = [
        table.figure,
        accuracy_figure(facts),
        matrix_figure(facts),
        losses_figure(shown),
        answers_figure(shown),
        pool_figure(facts),
        *([ages] if (ages := ages_figure(shown)).rows else []),
        scorer_figure(shown),
        histogram_figure(shown),
        composition_figure(shown),
        training_figure(facts),
        cost_figure(facts),
        *sample_figures,
    ]
    return Page(
        facts=facts,
        subject=subject_of(facts),
        detailed=shown,
        answers=answers(facts, table),
        table=table,
        heat_maps=[(fact.label, heat_map(fact, baseline_of(fact, facts))) for fact in shown],
        lost=[(fact.label, lost_table(fact)) for fact in shown],
        retention=retention(facts),
        figures=figures,
        album=album,
    )
