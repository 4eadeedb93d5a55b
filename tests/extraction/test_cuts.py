"""Cutting a plan into shards: every batch once, about a minute each, and no result depends on where the cuts are."""

from __future__ import annotations

import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.config import ExtractionConfig
from adaptinf.errors import StoreError
from adaptinf.extraction import cuts, extract, work
from adaptinf.extraction.cuts import Cutter, left_over
from adaptinf.extraction.plan import Plan
from adaptinf.extraction.shards import finished_shards
from adaptinf.progress import Silent
from adaptinf.storage import tables
from tests.helpers.conversations import conversation, say

CONFIG = ExtractionConfig(dim=64, batch_tokens=64)
NUM_SAMPLES = 40
FILES = ("vectors.npy", "embeddings.npy", "scores.parquet", "info.json")


pytestmark = pytest.mark.usefixtures("one_thread")


def batches_of(sizes: list[int]) -> list[tuple[int, ...]]:
    stops = np.cumsum(sizes).tolist()
    return [tuple(range(start, stop)) for start, stop in zip([0, *stops], stops, strict=False)]


def cut(cutter: Cutter, left: list[range], seconds_per_batch: float) -> list[cuts.Shard]:
    """Cut while a worker with that speed measures."""
    shards = []
    for shard in cutter.shards(left):
        shards.append(shard)
        cutter.learn(len(shard.batches), seconds_per_batch * len(shard.batches))
    return shards


@given(
    sizes=st.lists(st.integers(1, 40), max_size=60),
    done=st.sets(st.integers(0, 59)),
    seconds_per_batch=st.floats(0, 200),
    row_bytes=st.integers(1, 2**24),
    num_workers=st.integers(1, 9),
)
def test_shards_cover_what_is_left_in_order_within_seconds_and_bytes(
    sizes, done, seconds_per_batch, row_bytes, num_workers
):
    batches = batches_of(sizes)
    left = left_over(len(batches), [range(number, number + 1) for number in done if number < len(batches)])
    shards = cut(Cutter(batches=batches, row_bytes=row_bytes, num_workers=num_workers), left, seconds_per_batch)
    assert [number for shard in shards for number in range(shard.start, shard.stop)] == [
        number for number in range(len(batches)) if number not in done
    ]
    for shard in shards:
        assert shard.batches == tuple(batches[shard.start : shard.stop])
        if len(shard.batches) > 1:
            assert seconds_per_batch * len(shard.batches) <= cuts.SHARD_SECONDS
            assert row_bytes * shard.num_rows <= cuts.SHARD_BYTES


def test_shards_grow_to_a_minute_and_shrink_when_batches_get_slow():
    cutter = Cutter(batches=batches_of([4] * 200), row_bytes=1)
    sizes = [len(shard.batches) for shard in cut(cutter, [range(0, 150)], 1.0)]
    assert sizes == [1, 4, 16, 60, 60, 9]


def test_the_last_shards_are_small_where_several_workers_share_them():
    cutter = Cutter(batches=batches_of([4] * 200), row_bytes=1, num_workers=4)
    sizes = [len(shard.batches) for shard in cut(cutter, [range(0, 60), range(100, 160)], 1.0)]
    assert sum(sizes) == 120 and sizes[:4] == [1, 4, 15, 13] and sizes[-6:] == [1] * 6


def samples():
    return [
        conversation(f"{n:03d}", say("user", "word " * (1 + n % 7)), say("assistant", "answer " * (1 + n % 3)))
        for n in range(NUM_SAMPLES)
    ]


def extracted(learner, out, **options):
    extract(samples(), learner, CONFIG, out=out, **options).save(out)
    return {name: (out / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("seed", range(3))
def test_results_are_the_same_bytes_wherever_the_cuts_are(learner, tmp_path, monkeypatch, seed):
    whole = extracted(learner, tmp_path / "whole")
    chance, sizes = random.Random(seed), []
    real = Cutter._cut

    def anywhere(self, start, stop):
        self._num_batches = chance.randint(1, 5)
        sizes.append(self._num_batches)
        return real(self, start, stop)

    monkeypatch.setattr(Cutter, "_cut", anywhere)
    assert extracted(learner, tmp_path / "cut") == whole
    assert len(sizes) > 2


class Killed(BaseException):
    """Stands for a kill."""


def killed_after(monkeypatch, learner, out, seconds, **options):
    """Extract with a model that takes a second per batch on a clock of its own; kill it, and return batches measured.

    The clock is that of the worker; writing takes no time.
    """
    now, measured = [0.0], []
    real = work.Meter.measure

    def measure(self, prepared):
        now[0] += 1.0
        if now[0] > seconds:
            raise Killed
        measured.append(prepared.rows)
        return real(self, prepared)

    with monkeypatch.context() as patch:
        patch.setattr(work.Meter, "measure", measure)
        patch.setattr(work.time, "monotonic", lambda: now[0])
        with pytest.raises(Killed):
            extract(samples(), learner, CONFIG, out=out, **options)
    return measured


def test_a_kill_with_a_slow_model_loses_about_the_time_that_a_shard_takes(learner, tmp_path, monkeypatch):
    """With three seconds per shard and one per batch, at most three batches are measured twice."""
    monkeypatch.setattr(cuts, "SHARD_SECONDS", 3.0)
    whole = extracted(learner, tmp_path / "whole")
    lost = []
    for seconds in range(1, 11):
        out = tmp_path / str(seconds)
        measured = killed_after(monkeypatch, learner, out, seconds)
        plan = Plan.load(out / "shards" / "plan.parquet")
        assert len(plan.batches) > 10
        kept = sum(len(file.batches) for file in finished_shards(out / "shards", plan))
        lost.append(len(measured) - kept)
        if seconds == 10:
            assert extracted(learner, out) == whole
    assert max(lost) == 2, "a shard of three batches that lacked its last"


class Backwards:
    """Takes all shards at once and works on the last one first, as workers of different speed may."""

    is_in_process = True

    @contextmanager
    def open(self, work):
        with work.open() as tool:
            self.tool = tool
            yield self

    def map(self, function, shards):
        results = [function(self.tool, shard) for shard in reversed(list(shards))]
        yield from reversed(results)

    def close(self):
        pass


def test_workers_may_finish_shards_in_any_order_also_before_a_kill(learner, tmp_path, monkeypatch):
    whole = extracted(learner, tmp_path / "whole")
    assert extracted(learner, tmp_path / "backwards", executor=Backwards()) == whole
    out = tmp_path / "killed"
    killed_after(monkeypatch, learner, out, 4, executor=Backwards())
    plan = Plan.load(out / "shards" / "plan.parquet")
    done = [file.batches for file in finished_shards(out / "shards", plan)]
    assert done[0].start > 0 and done[-1].stop == len(plan.batches)
    assert extracted(learner, out) == whole


def as_an_older_version_left_it(folder):
    """Rewrite a folder of shards of two batches each: older versions cut in advance, and named shards by number."""
    table = tables.read_table(folder / "plan.parquet")
    del table["num_threads"]
    tables.write_table(folder / "plan.parquet", {**table, "shard": table["batch"] // 2})
    for number, path in enumerate(sorted(folder.glob("shard-*.npz"))):
        path.rename(folder / f"shard-{number:05d}.npz")


def test_shards_of_an_older_version_are_kept_and_the_rest_is_measured(learner, tmp_path, monkeypatch):
    whole = extracted(learner, tmp_path / "whole")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Cutter, "_num_batches", 2)
        patch.setattr(Cutter, "learn", lambda *given: None)
        killed_after(monkeypatch, learner, out, 5)
    as_an_older_version_left_it(out / "shards")
    assert sorted(path.name for path in (out / "shards").glob("*.npz")) == ["shard-00000.npz", "shard-00001.npz"]
    measured = []
    real = work._measure_batches
    monkeypatch.setattr(work, "_measure_batches", lambda *given: measured.append(given[0].start) or real(*given))
    assert extracted(learner, out) == whole
    assert measured[0] == 4


@pytest.mark.parametrize("name", ["shard-000000-000002.npz", "shard-000030-000900.npz", "shard-00007.npz"])
def test_a_shard_that_does_not_fit_the_plan_is_refused_by_its_name(learner, tmp_path, monkeypatch, name):
    monkeypatch.setattr(cuts, "SHARD_SECONDS", 0.0)
    killed_after(monkeypatch, learner, tmp_path, 4)
    (tmp_path / "shards" / name).write_bytes(b"")
    with pytest.raises(StoreError, match=f"{name} does not fit the plan"):
        extract(samples(), learner, CONFIG, out=tmp_path)


class Notes:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.stage = Silent().stage

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_going_on_with_another_number_of_threads_is_reported_once(learner, tmp_path, monkeypatch):
    killed_after(monkeypatch, learner, tmp_path, 4)
    torch.set_num_threads(2)
    extract(samples(), learner, CONFIG, out=tmp_path, progress=(said := Notes()))
    (note,) = said.texts
    assert note.startswith("extraction began with 1 thread and continues with 2: the last bits")
