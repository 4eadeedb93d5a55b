"""Every benchmark runs from end to end on small arrays, so that a broken one is noticed."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adaptinf.demo.benchmark import BENCHMARKS, Benchmark
from adaptinf.demo.mixture import LIIT
from adaptinf.pipeline import run_all
from adaptinf.results.records import read_records
from adaptinf.runs import Run
from benchmarks import experiments, mini_liit

ROOT = Path(__file__).parent.parent.parent


def result_of(name: str, out: Path, *options: str) -> str:
    """Return the only result that a benchmark writes on small data; `options` are those of Python."""
    command = [sys.executable, *options, "-m", f"benchmarks.{name}", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (result,) = out.glob(f"{name.replace('_', '-')}_*.md")
    return result.read_text()


@pytest.mark.parametrize("name", ["clustering", "pruning", "selection"])
def test_a_benchmark_runs_and_writes_its_result(name: str, tmp_path: Path) -> None:
    text = result_of(name, tmp_path, "-W", "error")
    assert "## Growth" in text and "times faster" in text and "bare" in text
    assert re.search(r"^\| cluster|^\| greedy|^\| adapt", text, re.MULTILINE)


def test_the_trial_benchmark_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("trial", tmp_path)
    assert "| llama3" in text and "Slowest trial: " in text


@pytest.mark.slow
def test_the_benchmark_of_ten_million_rows_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("ten_million", tmp_path)
    assert "| prune to half, greedy |" in text and "| Pool.open |" in text and "Growth of pool" in text


@pytest.mark.slow
def test_the_benchmark_of_hostile_data_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("hostile_memory", tmp_path)
    assert "| an item of 2 GB (.json) | run adapt_plus |" in text and "MB are wanted" in text


@pytest.mark.slow
def test_the_benchmark_of_reading_data_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("ingest", tmp_path)
    assert "| validate, lines |" in text and "| json.loads | at most 4 |" in text and "| status |" in text


@pytest.mark.slow
def test_the_benchmark_of_executors_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("executors", tmp_path)
    assert "| local | 1 |" in text and "| processes | 2 |" in text


@pytest.mark.slow
def test_the_training_benchmark_runs_and_its_losses_are_those_of_trl(tmp_path: Path) -> None:
    text = result_of("training", tmp_path)
    assert "| adaptinf |" in text and "| TRL, as it comes |" in text


@pytest.mark.slow
def test_the_extraction_benchmark_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("extraction", tmp_path)
    assert "| ours, answer states (adapt_plus)" in text and "| reference's way / ours, everything |" in text


def test_the_mini_liit_benchmark_runs_what_its_result_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_dataset = replace(LIIT, sizes={"mantis": 24}, shares={"mantis": {"more": 0.5, "two_digits": 0.5}})
    tiny = Benchmark(mixture=one_dataset, scale=1.0, budget=8, tests_per_skill=1, validation_per_skill=1)
    monkeypatch.setitem(BENCHMARKS, "mini-liit-quick", tiny)
    monkeypatch.setattr(mini_liit, "RESULTS", tmp_path)
    rows = [mini_liit.method("random_replay"), mini_liit.method("sequential")]
    experiment = mini_liit.Experiment(
        stream="mini-liit-quick", seeds=[0], rows=rows[:1], settings={"training.epochs": 1}
    )
    monkeypatch.setitem(mini_liit.EXPERIMENTS, "main", experiment)
    ran: list[str] = []

    def in_process(planned, **_: object) -> None:
        for one in planned:
            ran.append(one.row.name)
            run_all(Run.create(one.folder, one.config))

    monkeypatch.setattr(experiments, "run_planned", in_process)
    result = mini_liit.run("main", tmp_path / "runs", workers=1)
    assert [record.name for record in read_records(result).records] == ["random_replay"]
    monkeypatch.setitem(mini_liit.EXPERIMENTS, "main", replace(experiment, rows=rows))
    mini_liit.run("main", tmp_path / "elsewhere", workers=1, rows=["random_replay"])
    mini_liit.run("main", tmp_path / "elsewhere", workers=1, seeds=[1])
    assert ran == ["random_replay"]
    mini_liit.run("main", tmp_path / "elsewhere", workers=1)
    assert [record.name for record in read_records(result).records] == ["random_replay", "sequential"]
    assert ran == ["random_replay", "sequential"]

    # Rows that another experiment has on the same stream are reused, those with other settings are not.
    same, other = (replace(experiment, rows=rows, settings=settings) for settings in ({"training.epochs": 1}, {}))
    monkeypatch.setattr(mini_liit, "EXPERIMENTS", {"main": mini_liit.EXPERIMENTS["main"], "same": same, "other": other})
    shared = mini_liit.run("same", tmp_path / "third", workers=1)
    assert shared.read_text().splitlines()[1:] == result.read_text().splitlines()[1:] and len(ran) == 2
    mini_liit.run("other", tmp_path / "third", workers=1)
    assert ran[2:] == ["random_replay", "sequential"]


@pytest.mark.slow
def test_the_checksums_benchmark_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("checksums", tmp_path)
    assert "Largest share: " in text and "Checks make a start " in text and "| status |" in text


@pytest.mark.slow
def test_the_benchmark_of_a_long_stream_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("long_stream", tmp_path)
    assert "Streams of 20 datasets and 200 datasets" in text and "| start of the next step |" in text


def test_the_generation_benchmark_runs_and_writes_its_result(tmp_path: Path) -> None:
    text = result_of("generation", tmp_path)
    assert "times faster" in text and "| 6/6 |" in text
