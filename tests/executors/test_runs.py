"""A whole run whose model works in other processes writes the same bytes as one in this process."""

from __future__ import annotations

import re

import pytest

from adaptinf.storage.store import read_lines
from tests.helpers.executor_runs import bytes_of, finished_run
from tests.helpers.other_process import OtherProcess

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_in_another_process_writes_the_same_bytes(place, here, monkeypatch):
    asked: list[OtherProcess] = []
    begin = OtherProcess.__init__
    monkeypatch.setattr(OtherProcess, "__init__", lambda self, *given: asked.append(self) or begin(self, *given))
    assert bytes_of(finished_run(place / "other", "other_process")) == here
    names = {"features/vectors.npy", "features/scores.parquet", "clusters/assignments.parquet"}
    assert {f"steps/01/{name}" for name in names} | {"base/evaluation/predictions.parquet"} <= here.keys()
    assert len(asked) == 2, "one executor per step"
    done = {
        "Extractor.plan",
        "Extractor.measure",
        "Assigner.assign",
        "PruneWork.remove",
        "PruneWork.nearest_kept",
        "_answer",
    }
    # Nothing is pruned in the first step, whose pool is within its cap.
    pruned = {"PruneWork.remove", "PruneWork.nearest_kept"}
    first, second = (executor.num_shards.keys() for executor in asked)
    assert done - pruned <= first and not pruned & first and done <= second
    assert b"mean_entropy_of_mine" in here["steps/00/features/scores.parquet"]


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_worker_processes_write_the_same_bytes_although_one_is_killed(place, here, workers):
    (place / "kill_in_scorer").touch()
    run = finished_run(place / f"processes{workers}", "processes", workers=workers)
    assert bytes_of(run) == here
    assert not (place / "kill_in_scorer").exists()
    (said,) = [line["said"] for line in read_lines(run.events_file) if line["event"] == "workers"]
    # Either worker may be the first to score.
    assert re.match(r"a worker was killed \(SIGKILL\) at batches \d to \d of extraction", said)
