"""`status --watch`: it goes on until no process works on the run, and ends with its state."""

from __future__ import annotations

import io
import json
import shutil
import sys
from threading import Timer

import pytest

from adaptinf import api
from adaptinf.cli.watching import lines_of, shown
from adaptinf.data import SavedPruning
from adaptinf.errors import ConfigError
from adaptinf.live import Watcher
from adaptinf.runs import Run
from tests.helpers.beating_process import working
from tests.helpers.run_folders import run_folder


@pytest.fixture
def run(tmp_path) -> Run:
    """A run of two steps, the last of which is not finished."""
    found = run_folder(tmp_path / "run", "random_replay", [[0.2, 0.5], [0.4, 0.6], [0.3, 0.8]])
    shutil.rmtree(found.stage_folder(1, SavedPruning))
    return found


def test_a_run_at_rest_is_shown_once(run, call):
    code, out, err = call("status", run.folder, "--watch")
    assert (code, err) == (0, "") and out == call("status", run.folder)[1]


def test_it_goes_on_until_the_process_is_killed_and_then_says_stopped(run, call):
    with working(run, 1, "model") as process:
        Timer(3, process.kill).start()
        code, out, _ = call("status", run.folder, "--watch")
    first, *_ = out.splitlines()
    assert (
        code == 0 and first.startswith("4/6 train: ") and "/1,000 samples (" in first and " left), 2 workers" in first
    )
    assert "; 1 of 2 steps finished; left" in first
    assert "\nstopped " in out and "in training of step 1; `adaptinf run " in out


def test_as_json_each_look_is_a_line(run, call):
    with working(run, 1, "model") as process:
        Timer(3, process.kill).start()
        looks = [json.loads(line) for line in call("status", run.folder, "--watch", "--json")[1].splitlines()]
    assert [look["status"]["state"] for look in (looks[0], looks[-1])] == ["running", "stopped"]
    assert len(looks) >= 2 and looks[0]["curves"][-1]["is_under_way"]


def test_a_terminal_gets_stage_time_left_loss_memory_and_the_last_messages(run, monkeypatch):
    with working(run, 1, "model") as process:
        lines = lines_of(Watcher(run.folder).look())
        text = "\n".join(lines)
        assert f"running: process {process.pid} in training of step 1" in lines[1]
        assert lines[2].startswith("4/6 train: ") and "1 of 2 steps finished; left" in lines[3]
        assert "loss " in text and "█" in text and "memory " in text and "  warning: 3 images" in text
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    look = shown(api.watch(run.folder))
    assert look.status.state == "stopped" and "stopped " in screen.getvalue()


def test_a_watcher_in_python_names_what_is_wrong_at_once(run, tmp_path):
    with pytest.raises(ConfigError, match="not a run folder"):
        api.watch(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="every=0 must be above 0"):
        api.watch(run.folder, every=0)
