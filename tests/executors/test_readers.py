"""Files of a dataset are read on the cores of this machine, and by an executor that has other machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.errors import ConfigError
from adaptinf.executors import LocalExecutor, Work, Workers, processes
from adaptinf.executors.interface import ReadPaths
from adaptinf.executors.processes import open_readers
from adaptinf.runs import Run
from adaptinf.runs.stream import add
from adaptinf.sources import chunks
from tests.helpers.works import Nothing


@dataclass
class Elsewhere:
    """Reads in this process, and remembers what it was asked."""

    refusal: str | None = None
    is_alone: bool = False
    is_in_process: bool = False
    asked: list[tuple[int, ReadPaths]] = field(default_factory=list)

    def open(self, work: Work[Any]) -> AbstractContextManager[Workers[Any]]:
        return LocalExecutor().open(work)

    def open_readers(
        self, work: Work[Any], number: int, on_progress: Callable[[int], None], reads: ReadPaths
    ) -> AbstractContextManager[Workers[Any]] | None:
        self.asked.append((number, reads))
        if self.refusal:
            raise ConfigError(self.refusal)
        return None if self.is_alone else self._opened(work)

    @contextmanager
    def _opened(self, work: Work[Any]) -> Iterator[Workers[Any]]:
        with LocalExecutor().open(work) as workers:
            yield workers

    def close(self) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Remember how many workers this machine is asked for, and use one."""
    found: list[int] = []

    @contextmanager
    def opened(work: Work[Any], number: int, on_progress: Callable[[int], None]) -> Iterator[Workers[Any]]:
        found.append(number)
        with LocalExecutor().open(work) as workers:
            yield workers

    monkeypatch.setattr(processes, "open_workers", opened)
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)
    return found


@pytest.mark.parametrize(
    ("executor", "number", "workers"),
    [
        (None, 5, [2]),
        (LocalExecutor(), 5, [2]),
        (Elsewhere(), 5, []),
        (Elsewhere(), 1, [1]),
        (Elsewhere(is_alone=True), 5, [2]),
    ],
)
def test_other_machines_read_where_there_are_any_and_enough_to_do(
    executor: Any, number: int, workers: Sequence[int], here: list[int], tmp_path: Path
) -> None:
    with open_readers(Nothing(), number, print, ReadPaths(tmp_path, {}), executor) as opened:
        assert list(opened.map(Nothing.same, [1, 2])) == [1, 2]
    assert here == workers


@pytest.mark.parametrize("refusal", [None, "nothing answers at head:6379"])
def test_add_reads_where_the_executor_can_and_says_where_it_cannot(
    refusal: str | None, tmp_path: Path, here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 200)
    monkeypatch.setattr(chunks, "_MUCH", 300)
    turns = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There."}]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"id": str(number), "conversations": turns}) + "\n" for number in range(20)))
    notes: list[str] = []
    asked = Elsewhere(refusal)
    monkeypatch.setattr("adaptinf.runs.stream.make_executor", lambda settings: asked)
    run = Run.create(tmp_path / "run", RunConfig())
    monkeypatch.setattr(type(run.progress), "note", lambda self, text: notes.append(text))
    monkeypatch.setattr("adaptinf.runs.stream.first_findings", lambda run, step: [])
    added = add(run, DatasetConfig(name="one", path=str(path)))
    assert added.num_samples == 20
    ((number, reads),) = asked.asked
    assert number > 5 and reads.files[str(path)] == path.stat().st_size and reads.files[str(tmp_path)] == -1
    said = [note for note in notes if "by itself" in note]
    assert said == ([] if refusal is None else [f"{refusal}; this machine reads the dataset by itself"])
    assert here == ([] if refusal is None else [2])
