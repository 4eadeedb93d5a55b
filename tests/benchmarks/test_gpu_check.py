"""The check of one GPU: rows are kept for a second call, aims are judged, and it runs with the tiny shape on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import BARE, CASES, Bench, Case, Row, Table, measured

ROOT = Path(__file__).parent.parent.parent
KEY = {"code": "1", "device": None, "shape": "tiny", "samples": 8}


def test_a_row_is_kept_for_the_same_code_and_device_only(tmp_path: Path) -> None:
    table = Table(tmp_path, KEY, peak=1e12)
    assert table.known(BARE) is None
    table.keep(BARE, Row(rate=3.5, seconds=2.0))
    assert Table(tmp_path, KEY, peak=1e12).known(BARE) == Row(rate=3.5, seconds=2.0)
    assert Table(tmp_path, {**KEY, "code": "2"}, peak=1e12).known(BARE) is None


def test_a_row_shows_its_share_of_the_peak_its_ratio_and_a_missed_aim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "gpu", lambda: "a GPU")
    table = Table(tmp_path, KEY, peak=1e12)
    row = Row(rate=10.0, operations=10**12, seconds=2.0, batch=32768, gigabytes=70.2, before=61.0)
    table.show("everything, with image grounding, compiled", row, Row(rate=20.0))
    table.show("without image grounding, compiled", row, Row(rate=15.0))
    shown = capsys.readouterr().out
    assert "| 10.0 | >= 20, **missed** | 50 | 2.00 | 32,768 | 70 | 61 |" in shown
    assert "| 10.0 | <= 1.55 x | 50 | 1.50 | 32,768 | 70 | 61 |" in shown
    assert "| 10.0 | <= 1.55 x | 50 | 1.50 |" in table.write("# One GPU").read_text()


def test_a_row_that_fails_says_why(tmp_path: Path) -> None:
    def fail(_: Bench) -> Row:
        raise RuntimeError("out of\nmemory")

    bench = Bench(learner=None, samples=[], dim=8, peak=1.0)  # type: ignore[arg-type]  # nothing of it is used
    assert measured(Case(measure=fail), bench).said == "failed: out of memory"


@pytest.mark.slow
def test_the_script_runs_on_a_cpu_and_a_second_call_measures_what_is_left(tmp_path: Path) -> None:
    command = ["scripts/gpu_check.sh", str(tmp_path), "--samples", "16", "--cases", BARE, "answer states", "two"]
    environment = {**os.environ, "PYTHON": sys.executable}
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "gpu_check.md").read_text()
    assert "| two processes on the device | the bytes of one process |" in table and "failed" not in table
    assert all(name in table for name in CASES if name.startswith("answer states"))
    (tmp_path / "training-the-adapter.json").unlink(missing_ok=True)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    second = subprocess.run([*command, "--minutes", "0"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert second.returncode == 0 and {path: path.stat().st_mtime_ns for path in kept} == kept
    assert "the time is over" not in second.stdout
