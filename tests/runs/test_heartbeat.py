"""The heartbeat: who works on a run, told apart from who was killed, on this machine and on another one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.runs import Run, beating, heartbeat
from adaptinf.runs.activity import SILENT_SECONDS, activity_of, ago
from adaptinf.runs.gpu_memory import GpuMemory
from adaptinf.runs.heartbeat import Heartbeat, StageBeat
from adaptinf.runs.status import status_of
from adaptinf.storage import lock
from tests.helpers.beating_process import working
from tests.helpers.run_folders import run_folder

NOW = 2_000_000.0


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.create(tmp_path / "run", RunConfig(stream=[DatasetConfig(name=f"d{n}", path="x") for n in range(6)]))


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(beating, "PERIOD_SECONDS", 0.02)


def said(run: Run, **changes: object) -> Heartbeat:
    """Leave a heartbeat of a process of another machine, 8 s old at NOW."""
    values = {"process": 17, "host": "node7", "kernel": "another", "number": 5, "began": NOW - 60, "time": NOW - 8}
    beat = Heartbeat.model_validate({**values, **changes})
    heartbeat.write(run.heartbeat_file, beat)
    return beat


def seen(run: Run) -> Heartbeat:
    found = heartbeat.read(run.heartbeat_file)
    assert found is not None
    return found


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def wait_for(run: Run, condition) -> Heartbeat:
    end = time.monotonic() + 20
    while not condition(seen(run)):
        assert time.monotonic() < end
        time.sleep(0.01)
    return seen(run)


def test_a_killed_process_is_shown_as_stopped_within_ten_seconds_with_its_stage_and_the_way_on(run, call):
    with working(run, 3, "model") as process:
        alive = activity_of(run)
        assert (alive.state, alive.process) == ("running", process.pid)
        assert f"\nrunning: process {process.pid} in training of step 3\n" in call("status", run.folder)[1]
        process.kill()
        process.wait()
        killed = time.monotonic()
        while status_of(Run.open(run.folder)).state != "stopped":
            assert time.monotonic() - killed < 10
        assert time.monotonic() - killed < 10
        line = call("status", run.folder)[1].splitlines()[1]
    assert line.startswith("stopped ") and " s ago in training of step 3; `adaptinf run " in line
    assert line.endswith(f"{run.folder}/config.yaml` goes on")
    found = json.loads(call("status", run.folder, "--json")[1])
    assert (found["state"], found["process"], found["activity"]["state"]) == ("stopped", None, "stopped")
    assert found["activity"]["place"] == {"step": 3, "stage": "model"}


def test_a_run_on_another_machine_is_told_by_the_age_of_its_heartbeat_alone_and_this_is_said(run):
    said(run)
    found = activity_of(run, now=NOW)
    assert (found.state, found.process, found.host, found.silent) == ("running", 17, "node7", 8.0)
    assert found.line("x").endswith(
        "(on node7, whose process cannot be asked from here: by the age of its heartbeat alone)"
    )
    later = activity_of(run, now=NOW - 8 + 12 * 60)
    assert later.state == "stopped" and later.line("go").startswith("stopped 12 min ago (on node7, ")
    # A lock that is seen across machines says nothing more: it stays for a while where the other machine has died.
    with lock.held(run.folder):
        (run.folder / lock.LOCK_NAME).write_text("17")
        assert activity_of(run, now=NOW).host == "node7"
        assert activity_of(run, now=NOW + 600).state == "stopped"


def test_a_watcher_trusts_what_it_hears_and_not_the_clock_of_another_machine(run):
    said(run, time=NOW - 3600)  # a clock that is an hour behind
    assert activity_of(run, now=NOW, heard=2.0).state == "running"
    assert activity_of(run, now=NOW, heard=SILENT_SECONDS + 1).state == "stopped"
    said(run, time=NOW + 3600)
    assert activity_of(run, now=NOW).silent == 0.0


def test_containers_of_one_kernel_are_one_machine_whatever_their_names_are(run, monkeypatch):
    monkeypatch.setattr(heartbeat, "kernel", lambda: "same")
    said(run, kernel="same", host="0f3a9c")
    # Its lock would be held: so the process has gone, however fresh its heartbeat is.
    assert activity_of(run, now=NOW).state == "stopped"


def test_the_lock_of_another_command_is_not_the_process_of_the_heartbeat(run):
    said(run, host=heartbeat.host(), kernel=heartbeat.kernel())
    assert activity_of(run, now=NOW).state == "stopped"
    with lock.held(run.folder):
        found = activity_of(run, now=NOW)
        assert (found.state, found.process, found.beat) == ("running", os.getpid(), None)


def test_a_process_that_is_held_is_said_to_be_suspended(run, monkeypatch):
    monkeypatch.setattr("adaptinf.runs.activity._is_suspended", lambda process: True)
    with lock.held(run.folder):
        said(run, process=os.getpid(), host=heartbeat.host(), kernel=heartbeat.kernel())
        line = activity_of(run, now=NOW + 240).line("x")
    assert "silent for 4 min" in line and "suspended" in line


def test_work_that_ends_well_is_at_rest_and_an_error_is_kept_with_the_stage_that_it_ended(run, fast):
    with lock.held(run.folder), beating.beating(run) as own, own.progress.stage("1/6 extract", 3):
        pass
    assert (activity_of(run).state, seen(run).stages) == ("at rest", ())
    with pytest.raises(RuntimeError), lock.held(run.folder), beating.beating(run) as own:
        with own.logged(0, "features", run.folder / "part"), own.progress.stage("1/6 extract", 3):
            raise RuntimeError("no\nmemory")
    assert [stage.title for stage in seen(run).stages] == ["1/6 extract"]
    line = activity_of(run).line("adaptinf run x")
    assert line == "stopped 0 s ago in extraction of step 0: no memory; `adaptinf run x` goes on"


def test_bars_notes_and_losses_are_in_the_heartbeat_while_work_goes_on(run, fast):
    with beating.beating(run) as own:
        own.progress.note("warning: slow disk")
        with own.progress.stage("1/6 train", 100) as bar:
            bar.advance(40)
            bar.beside("2 workers")
            bar.loss(1, 3.5)
            bar.loss(2, float("nan"))
            beat = wait_for(run, lambda beat: len(beat.losses) == 2 and beat.stages)
    stage = beat.stages[-1]
    assert (stage.title, stage.done, stage.total, stage.beside) == ("1/6 train", 40, 100, "2 workers")
    assert beat.losses == ((1, 3.5), (2, None)) and beat.notes == ("warning: slow disk",)
    assert beat.number < seen(run).number


def test_losses_of_a_long_training_are_thinned_and_those_of_the_next_one_begin_anew(run):
    with beating.beating(run) as own, own.progress.stage("train", 9) as bar:
        for step in range(5000):
            bar.loss(step + 1, 1.0)
        pulse = own.progress.pulse
        assert len(pulse.losses) <= beating.MOST_LOSSES
        assert (pulse.losses[0][0], pulse.losses[-1][0]) == (1, 5000)
        bar.loss(1, 2.0)
        assert pulse.losses == [(1, 2.0)]


def test_a_stage_that_failed_and_is_tried_again_is_shown_once(run, fast):
    with beating.beating(run) as own:
        with pytest.raises(MemoryError), own.progress.stage("1/6 extract", 3):
            raise MemoryError
        with own.progress.stage("1/6 extract", 3) as bar:
            bar.advance()
            beat = wait_for(run, lambda beat: beat.stages and beat.stages[-1].done)
    assert len(beat.stages) == 1


def test_work_goes_on_where_the_heartbeat_cannot_be_written(run, fast, monkeypatch):
    monkeypatch.setattr(beating, "write", full)
    with beating.beating(run) as own, own.progress.stage("train", 2) as bar:
        bar.advance(2)
    assert heartbeat.read(run.heartbeat_file) is None


def test_a_heartbeat_that_cannot_be_written_leaves_no_draft_and_the_old_one(run, monkeypatch):
    said(run)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError):
        said(run, number=6)
    assert seen(run).number == 5 and not list(run.folder.glob("*.part"))


STRANGE = {
    "text": lambda path: path.write_text("{]"),
    "other values": lambda path: path.write_text('{"process": "x"}'),
    "bytes": lambda path: path.write_bytes(b"\xff" * 100),
    "a folder": Path.mkdir,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a pipe": os.mkfifo,
    "endless": lambda path: path.write_text('{"host": "' + "x" * 2_000_000),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_anything_else_in_the_place_of_the_heartbeat_is_no_heartbeat(run, kind):
    STRANGE[kind](run.heartbeat_file)
    assert heartbeat.read(run.heartbeat_file) is None
    assert activity_of(run).state == "at rest"
    with beating.beating(run):  # nor does it keep a run from its work
        pass


def test_a_finished_run_and_one_of_an_earlier_version_have_their_states_without_a_heartbeat(tmp_path):
    run = run_folder(tmp_path / "run", "random_replay", [[0.5]] * 3)
    assert status_of(run).state == "finished"
    said(run)  # of the process that made it, which was killed while it wrote the report
    assert status_of(run).state == "finished"


def test_the_rate_is_that_of_the_last_minute_and_without_what_a_killed_attempt_has_left():
    stage = beating._Stage(title="extract", total=1000, unit="samples")
    stage.advance(500)  # at once: shards on disk
    beat = stage.beat(stage.began + 1)
    assert (beat.done, beat.rate, beat.seconds_left) == (500, None, None)
    stage.done = 520
    beat = stage.beat(stage.began + 10)
    assert beat.rate == pytest.approx(2.0, rel=0.05) and beat.seconds_left == pytest.approx(240, rel=0.05)
    assert StageBeat(title="x", done=5, total=None, rate=1.0).seconds_left is None


def test_the_drivers_answer_is_read_and_a_driver_that_fails_is_not_asked_again(tmp_path, monkeypatch):
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'NVIDIA H100, 80GB HBM3, 1024, 81559'\necho 'GB10, [N/A], [N/A]'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (gpu,) = GpuMemory().now()
    assert (gpu.name, gpu.used_bytes, gpu.total_bytes) == ("NVIDIA H100, 80GB HBM3", 1024 * 2**20, 81559 * 2**20)
    command.write_text("#!/bin/sh\nexit 9\n")
    memory = GpuMemory()
    assert memory.now() == () and memory._command is None


def test_times_that_have_passed_are_said_without_digits_that_nobody_needs():
    assert [ago(seconds) for seconds in (8.4, 725, 7300, 300_000)] == ["8 s", "12 min", "2 h 01 min", "3 days"]
