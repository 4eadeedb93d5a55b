"""status: what happens to a run now, from its lock and its log."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.data import SavedPruning
from adaptinf.pool import add_dataset
from adaptinf.runs import Run
from adaptinf.runs.status import status_of
from adaptinf.storage import lock, store
from tests.helpers.run_folders import run_folder


@pytest.fixture
def run(tmp_path) -> Run:
    stream = [DatasetConfig(name=name, path="x") for name in ("one", "two")]
    return Run.create(tmp_path / "run", RunConfig(stream=stream))


def state_of(run: Run) -> str:
    return status_of(Run.open(run.folder)).state


def fail(run: Run, step: int, stage: str) -> None:
    with pytest.raises(RuntimeError), run.logged(step, stage, run.folder / "part"):
        raise RuntimeError


def test_a_run_that_nothing_began_waits_and_one_with_all_steps_is_finished(run):
    assert state_of(run) == "waiting"
    for step in range(2):
        run.stage_folder(step, SavedPruning).mkdir(parents=True)
        assert run.has(step, SavedPruning)
    assert run.num_finished == 2


@pytest.mark.parametrize(("step", "stage"), [(-1, "evaluation"), (0, "pool"), (0, "features")])
def test_a_stage_that_began_and_never_ended_is_stopped_until_it_has_ended(run, call, step, stage):
    fail(run, step, stage)
    assert state_of(run) == "stopped"
    assert "\nstopped in the middle of a step" in call("status", run.folder)[1]
    found = json.loads(call("status", run.folder, "--json")[1])
    assert (found["state"], found["process"]) == ("stopped", None)
    with run.logged(step, stage, run.folder / "part"):
        pass
    assert state_of(run) == "waiting"


def test_a_step_that_was_left_between_two_stages_is_stopped(run):
    part = store.begin(run.dataset_folder(0))
    add_dataset(run.pool_folder, 0, "one", (), images="reference", on_bad_row="reject", part=part, origin={})
    store.finish(run.dataset_folder(0))
    (run.step_folder(0) / "clusters").mkdir(parents=True)
    assert state_of(run) == "stopped"


def test_a_dataset_that_add_refused_does_not_count(run):
    fail(run, 2, "pool")
    assert state_of(run) == "waiting"


def test_a_locked_run_is_running_with_its_process(run, call):
    fail(run, 0, "features")
    with lock.held(run.folder):
        found = json.loads(call("status", run.folder, "--json")[1])
        assert (found["state"], found["process"]) == ("running", os.getpid())
        assert f"\nrunning: process {os.getpid()}\n" in call("status", run.folder)[1]
    assert state_of(run) == "stopped"


class Opened:
    """Counts files that are opened, folders that are listed and paths that are looked at, below one folder."""

    def __init__(self) -> None:
        self.folder, self.counts = "", Counter[str]()
        sys.addaudithook(self.note)  # stays for ever, and counts nothing where no folder is set

    def note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder and event in ("open", "os.scandir", "os.listdir"):
            path = str(arguments[0])
            self.counts[path] += path.startswith(self.folder)

    def by(self, folder: Path, monkeypatch) -> Counter[str]:
        self.folder, self.counts, stat = str(folder), Counter(), os.stat

        def noted(path, *args, **options):
            self.counts[f"stat {path}"] += str(path).startswith(self.folder)
            return stat(path, *args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", noted)
            status_of(Run.open(folder))
        self.folder = ""
        return +self.counts


OPENED = Opened()


def test_status_opens_files_and_lists_folders_in_proportion_to_the_number_of_steps(tmp_path, monkeypatch):
    opened = {}
    for num_steps in (2, 4, 8):
        run = run_folder(tmp_path / str(num_steps), "random_replay", [[0.5]] * (num_steps + 1))
        opened[num_steps] = OPENED.by(run.folder, monkeypatch).total()
    assert (opened[8] - opened[4]) == 2 * (opened[4] - opened[2]) > 0


def test_status_reads_the_log_once_and_no_row_of_a_dataset(tmp_path, monkeypatch):
    run = run_folder(tmp_path / "run", "random_replay", [[0.5]] * 4)
    opened = OPENED.by(run.folder, monkeypatch)
    assert opened[str(run.events_file)] == 1
    assert not [path for path in opened if path.endswith(".arrow")]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ([0.3, 0.8], "55.0, 5.0 gained since step 0"),
        ([0.1, 0.2], "15.0, 35.0 lost since step 0"),
        ([0.4, 0.6], "50.0, as step 0"),
    ],
)
def test_status_says_what_the_last_step_gained_or_lost(tmp_path, call, last, said):
    run = run_folder(tmp_path / "run", "random_replay", [[0.2, 0.5], [0.4, 0.6], last])
    (line,) = [line for line in call("status", run.folder)[1].splitlines() if line.startswith("step 1: accuracy ")]
    assert said in line and "mean over skills" in line
