"""Extraction by executors: what workers cost where there is one, and what two of them gain on two cores.

OMP_NUM_THREADS=1 python -m benchmarks.executors            # about four minutes
OMP_NUM_THREADS=1 python -m benchmarks.executors --quick    # seconds; shows that it runs, not how fast the code is
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from adaptinf.config import ExtractionConfig, LoraConfig, ModelConfig, RunConfig
from adaptinf.data import Sample
from adaptinf.errors import ConfigError
from adaptinf.executors import Executor, make_executor
from adaptinf.extraction import extract
from adaptinf.models import LearnerRecipe
from adaptinf.models.quiet import quiet_libraries
from benchmarks.reporting import Report, arguments_of, significant
from benchmarks.shapes import SHAPES, learner, samples

SHAPE = "cpu-medium-small-head"
NUM_SAMPLES, NUM_QUICK = 160, 8
REPEATS = 2
"""The fastest of so many runs counts; the executors take turns, so that other load meets all of them."""
CASES = (("local", 1), ("processes", 1), ("processes", 2), ("ray", 2))
"""Executors and their workers; the first one is what the others are compared with."""


def main() -> None:
    options = arguments_of(__doc__)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    report = Report("executors", "Extraction by executors", packages=("torch", "transformers", "ray"))
    number = NUM_QUICK if options.quick else NUM_SAMPLES
    report.text(
        f"Vectors, embeddings and scores of {number} samples with images, by a model of 26 million random weights in "
        "float32; each worker has one thread. Every run loads the model, also `local`. `start` is what the first work "
        "of a worker takes beside that: starting a process and importing what it needs, once per step. "
        f"The fastest of {1 if options.quick else REPEATS} runs each.\n"
    )
    with TemporaryDirectory() as scratch, quiet_libraries():
        cases = CASES[:3] if options.quick else CASES
        report.table(_rows(cases, Path(scratch), number, 1 if options.quick else REPEATS))
    report.write(options.out)


def _rows(cases: tuple[tuple[str, int], ...], scratch: Path, number: int, repeats: int) -> list[dict[str, object]]:
    shape = replace(SHAPES[SHAPE], num_samples=number)
    made = learner(shape, has_vision=True, adapted=False)
    made.model.save_pretrained(scratch / "model")
    made.processor.save_pretrained(scratch / "model")
    lora = LoraConfig(rank=shape.rank, alpha=shape.rank)
    model = ModelConfig(path=str(scratch / "model"), device="cpu", dtype="float32", max_length=8192, lora=lora)
    work = Extraction(
        LearnerRecipe(model=model, new_adapter_seed=0),
        samples(shape, has_vision=True),
        ExtractionConfig(dim=shape.dim, batch_tokens=2048),
        scratch,
    )
    ready = [(name, workers, executor) for name, workers in cases if (executor := _executor(name, workers))]
    starts = {(name, workers): _start_seconds(work, executor) for name, workers, executor in ready}
    seconds: dict[tuple[str, int], float] = {}
    for _ in range(repeats):
        for name, workers, executor in ready:
            seconds[name, workers] = min(work.seconds(executor), seconds.get((name, workers), float("inf")))
    for _, _, executor in ready:
        executor.close()
    against = seconds[cases[0]]
    return [
        {
            "executor": name,
            "workers": workers,
            "seconds": significant(taken),
            "samples/s": significant(number / taken),
            "times local": significant(against / taken),
            "start, s": significant(starts[name, workers]),
        }
        for (name, workers), taken in seconds.items()
    ]


class Extraction:
    """The same extraction again and again."""

    def __init__(self, recipe: LearnerRecipe, rows: list[Sample], config: ExtractionConfig, scratch: Path) -> None:
        self.recipe, self.rows, self.config, self.scratch = recipe, rows, config, scratch

    def seconds(self, executor: Executor, number: int | None = None) -> float:
        """Return how long the first samples take, or all of them."""
        with TemporaryDirectory(dir=self.scratch) as out:
            return timed(
                lambda: extract(self.rows[:number], self.recipe, self.config, out=Path(out), executor=executor)
            )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of some work."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _executor(name: str, workers: int) -> Executor | None:
    """Return an executor; None where its library is not installed."""
    settings = RunConfig(executor=name, workers=workers, model=ModelConfig(device="cpu"))
    made = make_executor(settings)
    try:
        with closing(make_executor(settings, folder=Path("."))):
            return made
    except ConfigError:
        return None


def _start_seconds(work: Extraction, executor: Executor) -> float:
    """Return how much longer a first small extraction takes than a second one."""
    first = work.seconds(executor, 2)
    return max(0.0, first - work.seconds(executor, 2))


if __name__ == "__main__":
    main()
