"""kill -9 in the middle of every stage: the same command goes on, and ends as if nothing had happened.

A child process is forked from a server that has imported torch already, so that dying is cheap. It kills itself at a
chosen call of a chosen function.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adaptinf.runs.layout import HEARTBEAT
from adaptinf.storage import store, tables
from adaptinf.storage.lock import LOCK_NAME
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["adaptinf.pipeline", "adaptinf.evaluation.generation", "adaptinf.runs.learners", "datasets"]
)


class Kill(NamedTuple):
    """A place to die at."""

    stage: str
    """Folder that must be unfinished afterwards, below the run folder."""
    target: str
    """module:function or module:Class.method."""
    call: int = 1
    """Which call of it, counted from 1 in this process."""
    after: bool = False
    """Die when the call returns, not when it begins."""


INSIDE = [
    Kill("pool/00-one", "adaptinf.pool.columns:Columns.add", call=7),
    Kill("base/evaluation", "adaptinf.evaluation.answering.work:keep_answer", call=2),
    Kill("steps/00/features", "adaptinf.extraction.work:_measure_batches", call=2, after=True),
    Kill("steps/00/features", "adaptinf.data:Features.save", after=True),
    Kill("steps/00/clusters", "adaptinf.data:Clusters.save", after=True),
    Kill("steps/00/selection", "adaptinf.data:Selection.save", after=True),
    Kill("steps/00/model", "adaptinf.training.trainer:Reporter.on_step_end", call=3),
    Kill("steps/00/model", "adaptinf.training:save_weights", after=True),
    Kill("steps/00/evaluation", "adaptinf.evaluation.answering.work:keep_answer", call=2),
    Kill("steps/00/pruning", "adaptinf.data:SavedPruning.save", after=True),
    Kill("pool/01-two", "adaptinf.pool.columns:Columns.add", call=10),
    Kill("steps/01/features", "adaptinf.extraction.work:_measure_batches", call=3),
    Kill("steps/01/model", "adaptinf.training.trainer:Reporter.on_save", call=2),
    Kill("steps/01/pruning", "adaptinf.pipeline.choosing:prune", after=True),
]
"""In the order of a run: each process takes up what the one before left, and dies in turn."""

FOLDERS = (
    "pool/00-one",
    "base/evaluation",
    *(
        f"steps/00/{stage}"
        for stage in ("check", "features", "clusters", "selection", "model", "evaluation", "pruning")
    ),
    "pool/01-two",
    *(
        f"steps/01/{stage}"
        for stage in ("check", "features", "clusters", "selection", "model", "evaluation", "pruning")
    ),
)


def run_command(
    stream: Path, out: Path, kill: Kill | None = None, *, renamed: str | None = None, file_bytes: int | None = None
) -> int:
    """Return the exit code of `adaptinf run`; negative for a signal. `file_bytes`: no file may grow longer."""
    process = SERVER.Process(target=_in_child, args=(str(stream), str(out), kill, renamed, file_bytes))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _in_child(
    stream: str, out: str, kill: Kill | None, renamed: str | None, file_bytes: int | None, waits: bool = False
) -> None:
    import torch

    from adaptinf import cli
    from adaptinf.extraction import cuts

    # As at a terminal: what was started in a shell's background passes on that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    cuts.SHARD_SECONDS = 0.0  # a shard per batch, so that forty samples make several
    if kill is not None:
        _patch(kill, partial(_wait, Path(out).with_suffix(".waiting")) if waits else _die)
    if renamed is not None:
        _die_at_rename(renamed)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    sys.argv = ["adaptinf", "run", stream, "--out", out, "--quiet"]
    sys.stdout = sys.stderr = open(Path(out).with_suffix(".log"), "w")
    cli.main()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait(mark: Path) -> None:
    mark.touch()
    time.sleep(60)
    raise AssertionError("nobody stopped this process")


def _patch(kill: Kill, end: Callable[[], None]) -> None:
    module, _, path = kill.target.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    real, calls = getattr(holder, name), [0]

    def deadly(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == kill.call and not kill.after:
            end()
        result = real(*args, **options)
        if calls[0] == kill.call:
            end()
        return result

    setattr(holder, name, deadly)


def _die_at_rename(where: str) -> None:
    """Die before or right after a folder gets its final name; `where` is `before:<end of the path>` or `after:...`."""
    moment, _, end = where.partition(":")
    real = os.rename

    def deadly(source: Any, destination: Any) -> None:
        is_it = str(destination).endswith(end)
        if is_it and moment == "before":
            _die()
        real(source, destination)
        if is_it:
            _die()

    store.os.rename = deadly  # type: ignore[attr-defined]


def outcome(out: Path) -> dict[str, Any]:
    """Return what two runs on the same stream must agree in."""
    found: dict[str, Any] = {}
    for name in ("selection/selection.parquet", "pruning/pruned.parquet"):
        for step in ("00", "01"):
            table = tables.read_table(out / "steps" / step / name)
            found[f"{step}/{name}"] = {column: list(map(str, values)) for column, values in table.items()}
    for folder in ("base", "steps/00", "steps/01"):
        found[f"{folder}/matrix"] = json.loads((out / folder / "evaluation" / "matrix.json").read_text())
        predictions = tables.read_table(out / folder / "evaluation" / "predictions.parquet")
        found[f"{folder}/predictions"] = predictions["prediction"].tolist()
    for step in ("00", "01"):
        found[f"{step}/weights"] = (out / "steps" / step / "model" / "model.safetensors").read_bytes()
    return found


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    datasets = [write_dataset(folder, "one", rows(40)), write_dataset(folder, "two", rows(40, word="item"))]
    tests = [
        write_test(folder, "colours", rows(8)[::2], max_new_tokens=2),
        write_test(folder, "sums", rows(8)[1::2], max_new_tokens=3),
    ]
    return write_stream(folder / "stream.yaml", datasets, tests, pruning={"cap": 24})


@pytest.fixture(scope="module")
def undisturbed(stream, tmp_path_factory):
    """The outcome of a run that nobody killed."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run_command(stream, out) == 0
    found = outcome(out)
    assert len(found["00/pruning/pruned.parquet"]["id"]) == 16, "the cap must prune, or this tests nothing"
    return found


def test_a_run_killed_in_every_stage_ends_like_one_that_was_never_killed(stream, undisturbed, tmp_path):
    out = tmp_path / "run"
    for kill in INSIDE:
        assert run_command(stream, out, kill) == -signal.SIGKILL, kill
        assert not (out / kill.stage).exists(), kill
        assert store.part_of(out / kill.stage).exists(), kill
        if kill.target.endswith("on_step_end"):
            marks = sorted(out.glob("steps/00/model.part/checkpoints/*/checksums.json"))
            assert [mark.parent.name for mark in marks] == ["checkpoint-1", "checkpoint-2"]
        if kill.target.endswith("_measure_batches") and not kill.after:
            assert len(list(store.part_of(out / kill.stage).glob("shards/shard-*.npz"))) == kill.call - 1
    assert run_command(stream, out) == 0
    assert outcome(out) == undisturbed
    assert not list(out.rglob("*.part"))
    assert not list(out.rglob("*.pkl")) and not list(out.rglob("checkpoints"))


def times_of_results(out):
    others = {LOCK_NAME, HEARTBEAT}
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name not in others}


def test_a_finished_run_is_left_as_it_is_by_the_same_command(stream, undisturbed, tmp_path):
    out = tmp_path / "run"
    assert run_command(stream, out) == 0
    before = times_of_results(out)
    assert run_command(stream, out) == 0
    assert times_of_results(out) == before
    assert outcome(out) == undisturbed


def test_files_that_cannot_grow_end_the_run_with_exit_code_2_and_nothing_half_done(stream, undisturbed, tmp_path):
    """A limit of the operating system on the length of a file, which every writer meets as it meets a full disk."""
    out = tmp_path / "run"
    num_bytes = (BASE_PATH / "model.safetensors").stat().st_size
    for limit, stage in ((2000, "config.yaml"), (num_bytes // 2, "steps/00/model")):
        assert run_command(stream, out, file_bytes=limit) == 2
        said = out.with_suffix(".log").read_text()
        assert said.startswith("adaptinf: ") and len(said.splitlines()) == 1, said
        assert not (out / stage).exists()
        assert store.part_of(out / stage).exists() == (stage != "config.yaml"), (
            "what is in a file of its own is removed"
        )
    assert run_command(stream, out) == 0
    assert outcome(out) == undisturbed


STOPS = [
    Kill("steps/00/features", "adaptinf.extraction.work:_measure_batches", call=2),
    Kill("steps/00/model", "adaptinf.training.trainer:Reporter.on_step_end", call=3),
]


def test_ctrl_c_in_the_middle_of_a_stage_leaves_a_run_that_goes_on(stream, undisturbed, tmp_path):
    """The real signal, sent to another process that waits in the middle of its work to be sure that it is met there."""
    out = tmp_path / "run"
    for stop in STOPS:
        process = SERVER.Process(target=_in_child, args=(str(stream), str(out), stop, None, None, True))
        process.start()
        while not out.with_suffix(".waiting").exists():
            assert process.is_alive(), out.with_suffix(".log").read_text()
            time.sleep(0.01)
        out.with_suffix(".waiting").unlink()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        process.join()
        assert process.exitcode == 130
        said = out.with_suffix(".log").read_text()
        assert said == "adaptinf: stopped; repeat the command to resume\n"
        assert store.part_of(out / stop.stage).exists() and not (out / stop.stage).exists()
    assert run_command(stream, out) == 0
    assert outcome(out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_the_rename_of_any_folder_changes_nothing(stream, undisturbed, tmp_path, folder, moment):
    out = tmp_path / "run"
    assert run_command(stream, out, renamed=f"{moment}:{folder}") == -signal.SIGKILL
    assert (out / folder).exists() == (moment == "after")
    assert run_command(stream, out) == 0
    assert outcome(out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("kill", INSIDE, ids=lambda kill: f"{kill.stage}-{kill.target.partition(':')[2]}")
def test_one_kill_inside_a_stage_changes_nothing(stream, undisturbed, tmp_path, kill):
    out = tmp_path / "run"
    assert run_command(stream, out, kill._replace(call=max(1, kill.call - 1))) == -signal.SIGKILL
    assert run_command(stream, out) == 0
    assert outcome(out) == undisturbed
