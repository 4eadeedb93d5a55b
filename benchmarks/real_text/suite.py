"""The experiments on streams of real tasks: which methods, which seeds, at which size."""

from __future__ import annotations

from pathlib import Path

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.demo.benchmark import CLUSTERS, STREAM_FILE, VALIDATION, VALIDATION_FILE
from adaptinf.results.recording import model_fingerprint
from adaptinf.selection import auto_settings
from adaptinf.storage import lock, store, tables
from benchmarks.experiments import Experiment, Suite, method
from benchmarks.real_text.lengths import tokens_of
from benchmarks.real_text.stream import SIZES, write_stream
from benchmarks.real_text.tasks import read_tasks

PREFIX = "real-text"
"""First part of the names of streams and results."""
ROWS = ("random_replay", "adapt_plus", "oracle", "adapt", "sequential")
MAKER = "maker.json"
"""File of a stream's folder: of which model and tasks it was made, at which size and seed."""
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

    return Suite(prefix=PREFIX, experiments=EXPERIMENTS, results=results, config_for=config_for)


def prepare(folder: Path, size: str, model_path: Path, tasks_path: Path, seed: int) -> None:
    """Write the stream of a seed unless it is there, complete.

    Raises:
        DataError: the tasks cannot be used.
        StoreError: the folder holds the stream of another model, other tasks, another size or seed.
    """
    tasks = read_tasks(tasks_path)
    texts = [text for task in tasks for text in (task.name, task.definition, *map(repr, task.items))]
    maker = {
        "size": size,
        "seed": seed,
        "model": model_fingerprint(str(model_path)),
        "tasks": tables.digest(tables.text_array(texts)),
    }
    if not folder.exists():
        with lock.held(folder.parent):
            if not folder.exists():  # another process may have written it meanwhile
                part = store.begin(folder)
                length = tokens_of(model_path)
                write_stream(part, tasks, size=SIZES[size], model_path=model_path, length=length, seed=seed)
                store.write_json_whole(part / MAKER, maker)
                store.complete(folder)
    store.check_maker(folder / MAKER, maker)
