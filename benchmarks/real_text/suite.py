"""The experiments on streams of real tasks: which methods, which seeds, at which size."""

from __future__ import annotations

from pathlib import Path

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.demo.benchmark import CLUSTERS, STREAM_FILE, VALIDATION, VALIDATION_FILE
from adaptinf.selection import auto_settings
from adaptinf.storage import lock, store
from benchmarks.experiments import Experiment, Suite, method
from benchmarks.real_text.stream import SIZES, tokens_of, write_stream
from benchmarks.real_text.tasks import read_tasks

PREFIX = "real-text"
"""First part of the names of streams and results."""
ROWS = ("random_replay", "adapt_plus", "oracle", "adapt", "sequential")
SMALL_SEEDS = (0, 1, 2)
EXPERIMENTS = {
    "small": Experiment(stream=f"{PREFIX}-small", seeds=SMALL_SEEDS, rows=[*map(method, ROWS)]),
    "multitask": Experiment(stream=f"{PREFIX}-small", seeds=[0], rows=[method("multitask")]),
    "full": Experiment(
        stream=f"{PREFIX}-full", seeds=[0, 1], rows=[*map(method, ("random_replay", "adapt_plus", "oracle"))]
    ),
    "validation": Experiment(
        stream=f"{PREFIX}-small{VALIDATION}",
        seeds=[5, 6, 7],
        rows=[*map(method, ("random_replay", "adapt_plus", "oracle"))],
    ),
    "tiny": Experiment(stream=f"{PREFIX}-tiny", seeds=[0], rows=[*map(method, ("random_replay", "adapt_plus"))]),
}
"""Name -> experiment. `multitask` costs most and has one seed; `tiny` shows that everything runs."""


def suite(model_path: Path, tasks_path: Path, results: Path) -> Suite:
    """Return the experiments on a model folder and a folder of tasks."""

    def config_for(experiment: Experiment, data: Path, seed: int, overrides: list[str], method: str) -> RunConfig:
        name = experiment.stream.removeprefix(f"{PREFIX}-")
        size, folder = name.removesuffix(VALIDATION), data / f"seed-{seed}"
        prepare(folder, size, model_path, tasks_path, seed)
        file = folder / (VALIDATION_FILE if name.endswith(VALIDATION) else STREAM_FILE)
        config = configuration.load(file, overrides)
        with registry.scope(config.plugins):
            own = auto_settings(method)[CLUSTERS] != "auto"
        return configuration.load(file, [f"{CLUSTERS}=auto", *overrides]) if own else config

    return Suite(prefix=PREFIX, experiments=EXPERIMENTS, results=results, config_for=config_for, one_training_code=True)


def prepare(folder: Path, size: str, model_path: Path, tasks_path: Path, seed: int) -> None:
    """Write the stream of a seed unless it is there, complete."""
    if folder.exists():
        return
    with lock.held(folder.parent):
        if not folder.exists():  # another process may have written it meanwhile
            part = store.begin(folder)
            write_stream(
                part,
                read_tasks(tasks_path),
                size=SIZES[size],
                model_path=model_path,
                length=tokens_of(model_path),
                seed=seed,
            )
            store.complete(folder)
