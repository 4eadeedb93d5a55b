"""Comparisons on real tasks: resumed, kept apart by training code, and refused in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptinf.errors import StoreError
from adaptinf.pipeline import run_all
from adaptinf.results.markdown import short_table
from adaptinf.results.records import read_records, records_text
from adaptinf.results.table import results_table
from adaptinf.runs import Run
from benchmarks import experiments
from benchmarks.real_text.__main__ import main
from benchmarks.real_text.suite import prepare, suite
from tests.helpers.task_folder import write_tasks
from tests.helpers.text_model import write_text_model

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of a tiny model and of small tasks."""
    place = tmp_path_factory.mktemp("real_text")
    return write_text_model(place / "model"), write_tasks(place / "tasks", num_tasks=10)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.real_text", *map(str, words)]


def table_of(path: Path) -> str:
    saved = read_records(path)
    return short_table(results_table(saved.records, saved.rows))


def test_runs_of_another_training_code_are_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    made = suite(tmp_path / "model", tmp_path / "tasks", tmp_path)
    path = made.result_of("tiny")
    path.write_text(records_text({experiments.TRAINING_CODE: "another"}, []))
    digest = experiments.training_code()
    with pytest.raises(StoreError) as refused:
        made.run("tiny", tmp_path / "runs", workers=1)
    assert str(refused.value).startswith(
        f"{path} holds runs of another version of the training code (another, now {digest})"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_comparison_goes_on_with_the_rows_that_are_missing(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def in_process(planned, **_: object) -> None:  # type: ignore[no-untyped-def]
        for one in planned:
            ran.append(one.row.name)
            run_all(Run.create(one.folder, one.config))

    monkeypatch.setattr(experiments, "run_planned", in_process)
    made = suite(*places, tmp_path / "results")
    result = made.run("tiny", tmp_path / "runs", workers=1, rows=["random_replay"])
    made.run("tiny", tmp_path / "runs", workers=1)
    saved = read_records(result)
    assert ran == saved.rows == ["random_replay", "adapt_plus"]
    assert saved.environment[experiments.TRAINING_CODE] == experiments.training_code()
    assert {record.stream for record in saved.records} == {"real-text-tiny"}
    assert set(saved.records[0].metrics) == {"exact", "rouge_l"} and len(saved.records[0].steps) == 6


def test_a_stream_of_another_model_or_other_tasks_is_not_used(places: tuple[Path, Path], tmp_path: Path) -> None:
    model, tasks = places
    prepare(tmp_path / "data" / "seed-0", "tiny", model, tasks, 0)
    before = (tmp_path / "data" / "seed-0" / "stream.yaml").read_bytes()
    prepare(tmp_path / "data" / "seed-0", "tiny", model, tasks, 0)
    others = write_tasks(tmp_path / "others", num_tasks=8)
    with pytest.raises(StoreError, match=r"seed-0 was made with tasks='\w+', now it is '\w+'; restore"):
        prepare(tmp_path / "data" / "seed-0", "tiny", model, others, 0)
    with pytest.raises(StoreError, match="was made with size='tiny', now it is 'small'"):
        prepare(tmp_path / "data" / "seed-0", "small", model, tasks, 0)
    with pytest.raises(StoreError, match="was made with model="):
        prepare(tmp_path / "data" / "seed-0", "tiny", write_text_model(tmp_path / "m", hidden_size=16), tasks, 0)
    assert (tmp_path / "data" / "seed-0" / "stream.yaml").read_bytes() == before


def test_a_mistake_ends_with_one_line(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("stream", "--model", places[0], "--tasks", tmp_path / "absent", "--out", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["real_text", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("real_text: ") and said.count("\n") == 1
    assert "absent is not a folder" in said and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_comparison_that_is_killed_ends_with_the_same_table(places: tuple[Path, Path], tmp_path: Path) -> None:
    model, tasks = places

    def words(name: str) -> list[str]:
        where = ("--out", tmp_path / name, "--results", tmp_path / name, "--workers", 1)
        return command("run", "tiny", "--model", model, "--tasks", tasks, *where)

    subprocess.run(words("whole"), cwd=ROOT, check=True, capture_output=True)
    killed = subprocess.Popen(words("killed"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = tmp_path / "killed" / "tiny" / "adapt_plus" / "seed-0" / "steps" / "02"
    while not second.exists() and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run(words("killed"), cwd=ROOT, check=True, capture_output=True)
    one, other = (tmp_path / name / "real-text-tiny.json" for name in ("whole", "killed"))
    assert table_of(one) == table_of(other)
    assert [record.matrix.tolist() for record in read_records(one).records] == [
        record.matrix.tolist() for record in read_records(other).records
    ]


@pytest.mark.slow
def test_the_script_for_a_gpu_goes_on_and_prints_one_table(places: tuple[Path, Path], tmp_path: Path) -> None:
    model, tasks = places
    words = [str(ROOT / "scripts" / "gpu_proof.sh"), str(tasks), str(tmp_path / "proof"), "--model", str(model)]
    around = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", "SECONDS_PER_CALL": "1"}
    done = subprocess.run(words, env=around, capture_output=True, text=True)
    assert done.returncode == 0 and "stopped after 1 s; the same call goes on" in done.stdout
    done = subprocess.run(words, env={**around, "SECONDS_PER_CALL": "280"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| random_replay |" in done.stdout and "2 of 2 runs of tiny have finished" in done.stdout
    assert (tmp_path / "proof" / "table.txt").read_text() in done.stdout
    saved = json.loads((tmp_path / "proof" / "real-text-tiny.json").read_text())
    assert len(saved["records"]) == 2


def test_the_script_for_a_gpu_says_what_it_wants() -> None:
    done = subprocess.run([str(ROOT / "scripts" / "gpu_proof.sh")], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage: scripts/gpu_proof.sh TASKS")
