"""kill -9 at random moments of an extraction: what comes out in the end is byte by byte what no kill gives."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.conversations import conversation, say
from tests.helpers.families import write_llama

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["adaptinf.extraction", "adaptinf.models", "adaptinf.scoring"])
NUM_SAMPLES = 60
FILES = ("vectors.npy", "embeddings.npy", "scores.parquet", "info.json")


def samples():
    return [
        conversation(f"{n:03d}", say("user", "word " * (1 + n % 7)), say("assistant", "answer " * (1 + n % 3)))
        for n in range(NUM_SAMPLES)
    ]


def extraction(model: str, out: str, started) -> None:
    """Extract in this process; say when the model is there and the work begins."""
    import torch

    from adaptinf.config import ExtractionConfig, ModelConfig
    from adaptinf.extraction import cuts, extract
    from adaptinf.models import load

    torch.set_num_threads(1)
    cuts.SHARD_SECONDS = 0.0  # a shard per batch
    learner = load(ModelConfig(path=model, dtype="float32", max_length=512))
    started.set()
    extract(samples(), learner, ExtractionConfig(dim=64, batch_tokens=256), out=Path(out))


def run(model: Path, out: Path, kill_after: float | None = None) -> tuple[int, float]:
    """Return the exit code and the seconds that the extraction took; with `kill_after`, it is killed by then."""
    started = SERVER.Event()
    process = SERVER.Process(target=extraction, args=(str(model), str(out), started))
    process.start()
    assert started.wait(60)
    begun = time.perf_counter()
    process.join(kill_after)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode, time.perf_counter() - begun


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    code, seconds = run(model, out)
    assert code == 0
    return {name: (out / name).read_bytes() for name in FILES}, seconds


def killed_and_resumed(model, out, undisturbed, kills, seed):
    """Kill an extraction at random moments of what is left, then let it end; return how many kills hit."""
    expected, seconds = undisturbed
    chance, hits = random.Random(seed), 0
    for _ in range(kills):
        code, _ = run(model, out, kill_after=chance.uniform(0, seconds))
        hits += code == -signal.SIGKILL
    assert run(model, out)[0] == 0
    assert {name: (out / name).read_bytes() for name in FILES} == expected
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    return hits


def test_three_kills_leave_no_trace(model, undisturbed, tmp_path):
    hits = 0
    for round in range(5):
        hits += killed_and_resumed(model, tmp_path / str(round), undisturbed, 1 + 2 * (round == 0), seed=round)
        if hits >= 3:
            return
    pytest.fail(f"only {hits} of the kills came before the end; this tests nothing")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_leave_no_trace(model, undisturbed, tmp_path):
    hits, round = 0, 0
    while hits < 50:
        hits += killed_and_resumed(model, tmp_path / str(round), undisturbed, 2, seed=100 + round)
        round += 1
