"""A whole run whose model works in another process writes the same bytes as one in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptinf import config as configuration
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from adaptinf.storage.checksums import CHECKSUMS
from tests.helpers.other_process import OtherProcess
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

PLUGINS = '''
import numpy as np

from adaptinf.registry import executor, metric, scorer
from tests.helpers.other_process import OtherProcess

executor("other_process")(OtherProcess)


@scorer("mean_entropy_of_mine")
class MeanEntropy:
    """Mean entropy of the answer's tokens."""

    def __call__(self, outcome):
        return outcome.mean(outcome.entropy_T)


@metric("same_length")
def same_length(prediction, answer):
    """Return 1 where prediction and answer have as many letters."""
    return float(len(prediction) == len(answer))
'''
SCORERS = ["mean_entropy_of_mine", "perplexity", "image_grounding"]

pytestmark = pytest.mark.usefixtures("one_thread")


def finished_run(folder: Path, executor: str) -> Run:
    """Take two datasets through the figure with an executor, with plug-ins of the user's own."""
    folder.mkdir()
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
    stream = write_stream(folder / "stream.yaml", datasets, tests, executor=executor, training=training, **changes)
    run = Run.create(folder / "run", configuration.load(stream))
    run_all(run)
    return run


def bytes_of(run: Run) -> dict[str, bytes]:
    """Return the content of every file of the stages; log and checksums of dropped files have times."""
    files = [path for folder in ("base", "steps") for path in (run.folder / folder).rglob("*") if path.is_file()]
    varying = ("config.yaml", "trainer_log.json", CHECKSUMS)
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in files if path.name not in varying}


def test_a_run_in_another_process_writes_the_same_bytes(tmp_path, monkeypatch):
    asked: list[OtherProcess] = []
    begin = OtherProcess.__init__
    monkeypatch.setattr(OtherProcess, "__init__", lambda self, *given: asked.append(self) or begin(self, *given))
    here, there = (bytes_of(finished_run(tmp_path / name, name)) for name in ("local", "other_process"))
    assert here == there
    names = {"features/vectors.npy", "features/scores.parquet", "clusters/assignments.parquet"}
    assert {f"steps/01/{name}" for name in names} | {"base/evaluation/predictions.parquet"} <= here.keys()
    assert len(asked) == 2, "one executor per step"
    done = {"Extractor.plan", "Extractor.measure", "Assigner.assign", "Answerer.answer"}
    assert all(done <= executor.num_shards.keys() for executor in asked)
    assert b"mean_entropy_of_mine" in here["steps/00/features/scores.parquet"]
