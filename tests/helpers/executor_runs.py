"""A run with plug-ins of a user, which every executor must give the same bytes of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptinf import config as configuration
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from adaptinf.storage.checksums import CHECKSUMS
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

PLUGINS = '''
import os
import signal
from pathlib import Path

import numpy as np

from adaptinf.registry import executor, metric, scorer
from tests.helpers.other_process import OtherProcess

executor("other_process")(OtherProcess)


@scorer("mean_entropy_of_mine")
class MeanEntropy:
    """Mean entropy of the answer's tokens."""

    def __call__(self, outcome):
        kill_once("scorer")
        return outcome.mean(outcome.entropy_T)


def kill_once(name):
    """End this process without a word, if it is the first one that finds the file of this name."""
    try:
        Path(__file__).with_name(f"kill_in_{name}").unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@metric("same_length")
def same_length(prediction, answer):
    """Return 1 where prediction and answer have as many letters."""
    return float(len(prediction) == len(answer))
'''
SCORERS = ["mean_entropy_of_mine", "perplexity", "image_grounding"]


def finished_run(folder: Path, executor: str, **others: Any) -> Run:
    """Take two datasets through the figure with an executor, with plug-ins of the user's own."""
    run = made_run(folder, executor, **others)
    run_all(run)
    return run


def made_run(folder: Path, executor: str, **others: Any) -> Run:
    """Make the run of `finished_run`, of which nothing is done."""
    folder.mkdir(parents=True)
    (folder.parent / "mine.py").write_text(PLUGINS)
    data = folder.parent / "data"
    data.mkdir(exist_ok=True)
    datasets = [write_dataset(data, "one", rows(12)), write_dataset(data, "two", rows(12, word="item"))]
    tests = [
        write_test(data, "colours", rows(4)[::2]),
        write_test(data, "sums", rows(4)[1::2], metric="same_length"),
    ]
    changes = {"plugins": [str(folder.parent / "mine.py")], "selection": {"scorers": SCORERS}}
    training = {"tune": "lora", "learning_rate": 5.0e-3}
    settings = {"executor": executor, "training": training, **changes, **others}
    stream = write_stream(folder / "stream.yaml", datasets, tests, **settings)
    return Run.create(folder / "run", configuration.load(stream))


def bytes_of(run: Run) -> dict[str, bytes]:
    """Return the content of every file of the stages; log and checksums of dropped files have times."""
    files = [path for folder in ("base", "steps") for path in (run.folder / folder).rglob("*") if path.is_file()]
    varying = ("config.yaml", "trainer_log.json", CHECKSUMS)
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in files if path.name not in varying}
