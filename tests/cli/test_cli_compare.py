"""adaptinf compare: what it writes and prints, that it adds to itself, and that a kill -9 changes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from adaptinf import config as configuration
from adaptinf.compare import processes
from adaptinf.compare.variants import ComparisonRow, row_config
from adaptinf.demo.benchmark import BENCHMARKS
from adaptinf.pipeline import run_all
from adaptinf.results.records import read_records
from adaptinf.results.table import results_table
from adaptinf.runs import Run
from adaptinf.storage import lock, store
from tests.helpers.run_folders import content
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> Path:
    """Two datasets, the second of which is smaller than the budget of 8."""
    folder = tmp_path_factory.mktemp("stream")
    datasets = [write_dataset(folder, "one", rows(24)), write_dataset(folder, "two", rows(6, word="item"))]
    tests = [write_test(folder, "colours", rows(8)[::2]), write_test(folder, "sums", rows(8)[1::2])]
    return write_stream(folder / "pets.yaml", datasets, tests)


@pytest.fixture
def ran(monkeypatch):
    """Run in this process, one after another, and return the list of what was run."""
    found = []

    def in_process(unfinished, progress, num_workers, cache, on_finished):
        for one, steps in unfinished:
            found.append((one.row.name, one.seed))
            with lock.held(one.folder):
                run_all(replace(Run.open(one.folder), cache=cache), num_steps=steps)

    monkeypatch.setattr(processes, "_run_unfinished", in_process)
    return found


@pytest.fixture
def compared(call):
    """Return a function that runs the command and gives (exit code, standard output, standard error)."""

    def run(*words):
        code, out, err = call("compare", *words, "--quiet")
        assert "Traceback" not in err, err
        return code, out, err

    return run


def without_times(text: str) -> str:
    text = re.sub(r'"(utc_time|git_sha)": ("[^"]*"|null)', "", text)
    return re.sub(r'"(\w+_seconds)": [\d.]+', "", text)


def test_a_comparison_writes_its_runs_records_table_and_page(compared, ran, stream, tmp_path):
    words = (stream, "--methods", "random_replay,sequential", "--seeds", "0,1", "--out", tmp_path / "out")
    code, out, err = compared(*words)
    assert (code, err) == (0, "")
    assert ran == [("random_replay", 0), ("sequential", 0), ("random_replay", 1), ("sequential", 1)]
    for name in ("comparison.json", "rows.json", "table.md", "report.html", "sequential/seed-1/steps/01/pruning"):
        assert (tmp_path / "out" / name).exists(), name
    # The second dataset has six samples, the budget is eight.
    assert "sequential †" in out and "† sequential trained on 2 fewer samples per seed than the others" in out
    assert "best of the sequential run" in out and "no row has a cap" in out
    saved = read_records(tmp_path / "out" / "comparison.json")
    assert [(one.name, one.seed, one.stream) for one in saved.records] == [
        (name, seed, "pets") for name in ("random_replay", "sequential") for seed in (0, 1)
    ]
    assert saved.environment["threads_per_run"] == 1 and saved.rows == ["random_replay", "sequential"]
    # The table comes from the records alone.
    assert [len(row.members) for row in results_table(saved.records, saved.rows).rows] == [2, 2]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "sequential, seed 1" in page

    # The same command again runs nothing; another folder has the same bytes but for times.
    first = (tmp_path / "out" / "comparison.json").read_text()
    ran.clear()
    assert compared(*words)[0] == 0 and ran == []
    assert compared(*words[:-1], tmp_path / "again")[0] == 0
    assert without_times((tmp_path / "again" / "comparison.json").read_text()) == without_times(first)


def test_more_methods_seeds_and_variants_add_to_a_comparison(compared, ran, stream, tmp_path):
    out = tmp_path / "out"
    assert compared(stream, "--methods", "sequential", "--out", out, "--steps", 1)[0] == 0
    (tmp_path / "v.yaml").write_text("slow: {method: random_replay, training.learning_rate: 0.0001, cap: 12}\n")
    code, said, _ = compared(
        stream, "--methods", "random_replay", "--seeds", "0,3", "--variants", tmp_path / "v.yaml", "--out", out
    )
    assert code == 0
    assert ran == [("sequential", 0), ("random_replay", 0), ("slow", 0), ("random_replay", 3), ("slow", 3)]
    assert "left out, because they have not finished all 2 steps: sequential seed 0 (1)" in said
    assert compared(stream, "--methods", "sequential", "--seeds", "0,3", "--out", out)[0] == 0
    saved = read_records(out / "comparison.json")
    assert len(saved.records) == 6 and saved.rows == ["sequential", "random_replay", "slow"]
    slow = next(one for one in saved.records if one.name == "slow")
    assert slow.settings == {"training.learning_rate": 0.0001, "cap": 12} and slow.method == "random_replay"
    assert [step.pool for step in slow.steps] == [24, 12 + 6]
    code, said, _ = compared(stream, "--methods", "sequential", "--seeds", "0", "--out", out, "--json")
    found = json.loads(said)
    assert [row["name"] for row in found["rows"]] == saved.rows and found["seeds"] == [0, 3]
    assert found["rows"][2]["against_random_replay"]["macro"]["p_value"] <= 1
    assert "all rows with a cap have the same: 12 samples (slow)" in found["notes"]


def test_the_table_so_far_is_written_while_runs_go_on_and_takes_little_of_their_time(tmp_path, monkeypatch):
    from adaptinf.compare import folder

    now, written = [100.0], []
    monkeypatch.setattr(folder.time, "monotonic", lambda: now[0])

    def write(self):
        written.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(folder.ComparisonFolder, "write", write)
    finished = folder.ComparisonFolder(tmp_path).writer()
    for _ in range(10):
        now[0] += 10.0
        finished()
    # Each takes 2 s, a twentieth of 40 s.
    assert written == [110.0, 152.0, 194.0]


def test_a_row_with_a_larger_budget_is_an_error_after_everything_is_written(compared, ran, stream, tmp_path):
    (tmp_path / "v.yaml").write_text("big: {method: random_replay, selection.budget: 12}\n")
    words = ("--methods", "random_replay,sequential", "--variants", tmp_path / "v.yaml", "--out", tmp_path / "out")
    code, out, err = compared(stream, *words)
    assert code == 2 and "big trained on 12 samples in step 0 of seed 0; the budget of this comparison is 8" in err
    assert "NOT COMPARABLE" in out and (tmp_path / "out" / "report.html").exists()
    assert len(read_records(tmp_path / "out" / "comparison.json").records) == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--methods", "adapts"], "did you mean 'adapt'"),
        ([], "nothing to compare"),
        (["--methods", "adapt", "--seeds", "0,x"], "--seeds '0,x' must be whole numbers"),
        (["--methods", "adapt", "--seeds", ","], "must be whole numbers"),
        (["--methods", "adapt", "--cap", "lots"], "cap 'lots' is not valid; give auto"),
        (["--methods", "lite_adapt", "--cap", "none"], "lite_adapt needs a cap in a comparison"),
        (["--methods", "adapt", "--set", "extraction.vectr=x"], "did you mean 'vector'"),
        (["--methods", "adapt", "--set", "selection.scorers=[perplexty]"], "did you mean 'perplexity'"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_folder_is_made(compared, stream, tmp_path, words, reason):
    code, out, err = compared(stream, *words, "--out", tmp_path / "out")
    assert (code, out) == (2, "") and reason in err
    assert not (tmp_path / "out").exists()


def test_a_benchmark_gives_each_seed_data_and_a_base_of_its_own(compared, ran, tmp_path, monkeypatch):
    tiny = replace(BENCHMARKS["mini-liit-quick"], scale=0.001, budget=8, tests_per_skill=1, validation_per_skill=1)
    monkeypatch.setitem(BENCHMARKS, "mini-liit-quick", tiny)
    words = ("mini-liit-quick", "--methods", "random_replay", "--seeds", "0,1", "--steps", "1", "--out", tmp_path)
    code, out, _ = compared(*words, "--set", "training.epochs=1")
    assert code == 0 and ran == [("random_replay", 0), ("random_replay", 1)] and "random_replay" in out
    found = read_records(tmp_path / "comparison.json").records
    assert [record.model for record in found] == ["base", "base-b"]
    assert {record.stream for record in found} == {"mini-liit-quick"}
    configs = [Run.open(tmp_path / "random_replay" / f"seed-{seed}").config for seed in (0, 1)]
    assert [config.training.epochs for config in configs] == [1, 1]
    assert [Path(config.stream[0].path).parent for config in configs] == [tmp_path / f"data/seed-{n}" for n in (0, 1)]


def test_what_is_neither_a_file_nor_a_benchmark_is_refused_with_the_benchmarks(compared):
    code, _, err = compared("mini-lit", "--methods", "adapt")
    assert code == 2 and "mini-lit is neither a file nor a benchmark; benchmarks: mini-liit, mini-liit-quick" in err


def test_a_row_keeps_its_meaning_and_a_folder_its_stream(compared, ran, stream, tmp_path):
    out = tmp_path / "out"
    variants = tmp_path / "v.yaml"
    variants.write_text("mine: {method: random_replay, cap: 12}\n")
    assert compared(stream, "--variants", variants, "--out", out)[0] == 0
    variants.write_text("mine: {method: random_replay, cap: 13}\n")
    code, _, err = compared(stream, "--variants", variants, "--out", out)
    assert code == 2 and "already has a row 'mine'" in err and "another name" in err
    other = stream.with_name("other.yaml")
    other.write_text(stream.read_text())
    code, _, err = compared(other, "--methods", "sequential", "--out", out)
    assert code == 2 and "compares runs on pets, not other" in err
    code, _, err = compared(stream, "--methods", "sequential", "--out", out, "--set", "training.epochs=3")
    assert code == 2 and "is a comparison with training.epochs=1, now it is 3" in err and "another --out" in err
    rounding_only = ("--set", "training.micro_batch_size=1")
    assert compared(stream, "--methods", "sequential", "--out", out, *rounding_only)[0] == 0
    code, _, err = compared(stream, "--methods", "sequential", "--out", out / "mine" / "seed-0")
    assert code == 2 and "is a run folder, and its report would be overwritten; choose another --out" in err
    (tmp_path / "table.md").touch()
    code, _, err = compared(stream, "--methods", "sequential", "--out", tmp_path)
    assert code == 2 and "is not a comparison but has a table.md; choose another --out" in err
    with lock.held(out):
        code, _, err = compared(stream, "--methods", "sequential", "--out", out)
    assert code == 2 and re.search(r"is in use by process \d+", err)


def ends(group: int, *, seconds: float) -> bool:
    """Tell whether every process of a group ends in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


def test_a_comparison_that_is_killed_goes_on_and_ends_as_if_nothing_had_happened(stream, tmp_path):
    """The real thing: two worker processes, kill -9 of their parent in the middle of their work."""
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-m", "adaptinf", "compare", stream, "--out", out, "--quiet"]
    words = [*command, "--methods", "adapt,cluster_balanced"]
    process = subprocess.Popen([*words, "--workers", "2"], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("*/seed-0/steps/00/selection")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "comparison.json").exists()
    assert ends(process.pid, seconds=20.0), "a process outlives the one that began it"

    done = subprocess.run([*words, "--workers", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(out.rglob("*.part"))
    config = configuration.load(stream)
    for method in ("adapt", "cluster_balanced"):
        row = ComparisonRow(name=method, method=method, settings={})
        alone = Run.create(tmp_path / method, row_config(config, row, 0))
        run_all(replace(alone, makes_maps=False))
        assert content(out / method / "seed-0") == content(alone.folder), method
    # Each stage that both have in common was made once.
    events = [event for method in ("adapt", "cluster_balanced")
              for event in store.read_lines(out / method / "seed-0" / "events.jsonl")]  # fmt: skip
    ended = [(event["step"], event["stage"]) for event in events if event["event"] == "end" and not event.get("shared")]
    for place in ((0, "pool"), (1, "pool"), (-1, "evaluation"), (0, "features"), (0, "clusters")):
        assert ended.count(place) == 1, place


def test_ctrl_c_stops_every_run_at_once_and_begins_none_that_waits(stream, tmp_path):
    """As a terminal sends it, to the whole group; the pool of processes holds two more runs ready."""
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-m", "adaptinf", "compare", stream, "--out", out, "--quiet"]
    process = subprocess.Popen(
        [*command, "--methods", "random_replay,sequential,multitask", "--workers", "1"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # What was started in a shell's background would hand on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (out / "random_replay" / "seed-0" / "steps" / "00" / "selection").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "adaptinf: stopped; repeat the command to resume\n")
    assert ends(process.pid, seconds=20.0), "a process outlives the one that began it"
    assert [path.parent.parent.name for path in out.glob("*/seed-0/steps")] == ["random_replay"]
    assert Run.open(out / "random_replay" / "seed-0").num_finished < 2
