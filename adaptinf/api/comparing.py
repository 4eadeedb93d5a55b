"""The commands that run several methods over one stream."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptinf.api.paths import PathLike
from adaptinf.errors import ConfigError
from adaptinf.progress import Progress, Silent

if TYPE_CHECKING:
    from adaptinf.compare import ConfigOf
    from adaptinf.compare.folder import ComparisonFolder
    from adaptinf.compare.variants import Variants
    from adaptinf.config import Overrides
    from adaptinf.results.outcomes import Comparison, DemoResult

DEMO_METHODS = ("adapt_plus", "adapt", "random_replay", "sequential", "oracle")
"""What the demo compares."""


def compare(
    stream: PathLike,
    *,
    methods: str | Sequence[str] = (),
    seeds: int | Sequence[int] = 0,
    out: PathLike | None = None,
    variants: Variants | None = None,
    cap: int | str | None = None,
    steps: int | None = None,
    workers: int | None = None,
    settings: Overrides | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run several methods and seeds over one stream, in processes of their own, and compare them in one table.

    A second call resumes; one with more methods, seeds or variants adds them to the folder.

    Args:
        stream: stream.yaml, a run's config.yaml, or the name of a benchmark such as mini-liit-quick.
        methods: one name, or several.
        seeds: one seed, or several.
        out: folder of the comparison; None: runs/<name of the stream>-compare.
        variants: name -> method and settings of its own, or a YAML file of these.
        cap: one cap for all rows but multitask: auto, none or a number of samples; None: only lite_adapt has one.
        steps: steps of the stream to run; None: all.
        workers: runs at once, one thread each; None: one per core, one in all on a GPU.
        settings: settings in place of the stream's, for all rows.
        progress: where to report.

    Raises:
        ConfigError: an unknown method or setting, or the folder compares something else.
        DataError, ModelError, StoreError: as `run`.
    """
    from adaptinf.compare import check_plan, plan, run_planned
    from adaptinf.compare.folder import RECORDS, ComparisonFolder
    from adaptinf.compare.variants import parse_cap, rows_of
    from adaptinf.demo.benchmark import is_benchmark
    from adaptinf.results.outcomes import Comparison
    from adaptinf.storage import lock

    text = os.fspath(stream)
    name = text if is_benchmark(text) else Path(text).stem
    rows = rows_of(_names(methods), variants)
    folder = ComparisonFolder(Path(out) if out is not None else Path("runs") / f"{name.replace(':', '-')}-compare")
    config_of, shared = _config_of(text, folder, settings)
    planned = plan(rows, _seeds(seeds), config_of, folder.run_folder, cap=parse_cap(cap))
    check_plan(planned)
    progress = progress or Silent()
    for line in dict.fromkeys(note for one in planned for note in one.notes):
        progress.note(f"note: {line}")
    with lock.held(folder.path):
        folder.remember(rows, name, shared)
        run_planned(
            planned,
            progress=progress,
            num_steps=steps,
            num_workers=workers,
            cache=folder.cache,
            on_finished=folder.writer(),
        )
        table, records = folder.write()
        page = folder.write_report()
    return Comparison(
        folder=folder.path, table=table, records=tuple(records), records_file=folder.path / RECORDS, report=page
    )


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _seeds(seeds: int | Sequence[int]) -> Sequence[int]:
    found = tuple(dict.fromkeys([seeds] if isinstance(seeds, int) else seeds))
    if not found or not all(isinstance(seed, int) and seed >= 0 for seed in found):
        raise ConfigError(f"seeds {seeds!r} must be whole numbers from 0, one at least")
    return found


def _config_of(stream: str, folder: ComparisonFolder, settings: Overrides | None) -> tuple[ConfigOf, dict[str, Any]]:
    """Return what gives a seed its settings, and the settings that must not change while rows are added.

    A file has the same settings for all seeds, a benchmark data and a base for each.
    """
    from adaptinf import config as configuration
    from adaptinf.compare import same_config
    from adaptinf.compare.folder import shared_settings
    from adaptinf.demo.benchmark import BENCHMARKS, is_benchmark, prepare

    if is_benchmark(stream):
        changed = configuration.as_settings(settings)
        data = folder.path / "data"
        return lambda seed, method: prepare(stream, data, seed, changed, method=method), changed
    if not Path(stream).is_file():
        raise ConfigError(f"{stream} is neither a file nor a benchmark; benchmarks: {', '.join(BENCHMARKS)}")
    config = configuration.load(Path(stream), settings).model_copy(update={"made_by": None})
    if config.model.date == "auto":
        config = configuration.with_settings(config, {"model.date": folder.day()}, where="model.date")
    return same_config(config), shared_settings(config)


def demo(
    *,
    out: PathLike = "runs/demo",
    methods: str | Sequence[str] = DEMO_METHODS,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Run the whole loop on a small stream of real images: no download, no GPU.

    Args:
        out: folder for the data and one run folder per method.
        methods: one name, or several.
        seed: seed of data and runs.
        steps: steps to run; None: all six.
        progress: where to report.

    Raises:
        ConfigError: an unknown method, or the folder holds something else.
        StoreError: another process uses the folder.
    """
    from adaptinf.demo.run import run_demo
    from adaptinf.report import write_report
    from adaptinf.results.outcomes import DemoResult, summarised_runs
    from adaptinf.runs import Run
    from adaptinf.runs.layout import REPORT
    from adaptinf.storage import lock, store

    folder, names = Path(out), _names(methods)
    if not names:
        raise ConfigError("--methods is empty; `adaptinf list` names them")
    Run.refuse_run(folder)
    with lock.held(folder):
        runs = run_demo(folder, methods=names, seed=seed, progress=progress or Silent(), num_steps=steps)
        summary = summarised_runs(runs)
        store.write_json_whole(folder / "summary.json", summary.as_json())
        page = write_report([made.folder for made in runs], folder / REPORT)
    return DemoResult(folder=folder, runs=tuple(runs), summary=summary, report=page)
