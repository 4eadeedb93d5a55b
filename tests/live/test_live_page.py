"""The live page in a real Chromium: a run at work, then killed; texts of the data stay texts."""

from __future__ import annotations

import shutil
import time

import pytest

from adaptinf.data import SavedPruning
from tests.helpers.beating_process import working
from tests.helpers.browser import chromium
from tests.helpers.live_pages import served
from tests.helpers.run_folders import run_folder

pytestmark = pytest.mark.heavy


def wait_for(driver, text: str, place: str, seconds: float = 10.0) -> float:
    """Wait until an element has a text, and return how long that took."""
    began = time.monotonic()
    while text not in driver.execute_script(f"return document.getElementById('{place}').textContent"):
        assert time.monotonic() - began < seconds, f"{place} has no {text!r} after {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def test_a_run_is_seen_at_work_and_as_stopped_within_ten_seconds_of_its_kill(tmp_path, monkeypatch):
    hostile = "<img src=x onerror=document.title='hacked'>"
    run = run_folder(tmp_path / hostile, "random_replay", [[0.2, 0.5], [0.4, 0.6], [0.3, 0.8]])
    shutil.rmtree(run.stage_folder(1, SavedPruning))  # the last step is not finished
    with served(run.folder, monkeypatch) as port, chromium(tmp_path / "profile") as driver:
        with working(run, 1, "model") as process:
            driver.get(f"http://127.0.0.1:{port}/")
            wait_for(driver, f"process {process.pid} in training of step 1", "line", 30)
            assert driver.find_element("id", "stage").text == "4/6 train"
            tiles = driver.find_element("id", "tiles").text
            assert "stage: time left" in tiles and "2 workers: 1 died" in tiles and "memory" in tiles
            before = driver.execute_script("return document.querySelectorAll('#loss path').length")
            assert before == 1 and "as it grows" in driver.find_element("id", "loss-text").text
            assert "3 images cannot be opened <b>" in driver.find_element("id", "notes").text
            skills = driver.find_element("id", "skills").text
            assert "10.0 lost" in skills and "20.0 gained" in skills
            assert driver.find_element("id", "folder").text.endswith(hostile)
            process.kill()
            assert wait_for(driver, "stopped", "pill") < 10
            wait_for(driver, "in training of step 1; `adaptinf run ", "line")
        assert driver.execute_script("return document.images.length") == 0
        assert driver.title.startswith("stopped: ")
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
