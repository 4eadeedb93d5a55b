"""The folder through which a driver and its ranks speak, on whatever machines that share it the ranks are."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptinf.executors.worker_process import portable
from adaptinf.progress import Bar


@dataclass(frozen=True)
class Job:
    """What the ranks do, what they say meanwhile, and how each of them ended."""

    folder: Path
    """Below the unfinished folder of a stage; it holds pickles, and is removed when the ranks have ended well."""

    @classmethod
    def begin(cls, folder: Path, parcel: bytes) -> Job:
        """Return the job of packed work, in a folder that is made anew."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        job = cls(folder)
        job.work_file.write_bytes(parcel)
        job.said_file.touch()
        return job

    def end(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def work_file(self) -> Path:
        """The packed work."""
        return self.folder / "work.pkl"

    @property
    def said_file(self) -> Path:
        """What the first rank has to show, a line of JSON each."""
        return self.folder / "said.jsonl"

    @property
    def log_folder(self) -> Path:
        """What the ranks printed."""
        return self.folder / "log"

    @property
    def ended_file(self) -> Path:
        """How ranks ended that torchrun watches: rank -> exit code, of those that failed."""
        return self.folder / "ended.json"

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether the driver wants the ranks to save what they have and to end."""
        return (self.folder / "stop").exists()

    def ask_to_stop(self) -> None:
        """Have the ranks save what they have and end."""
        (self.folder / "stop").touch()

    # Any: the work decides what it returns.
    def keep_result(self, result: Any) -> None:
        """Save the result; the first rank does that."""
        _write(self.folder / "result.pkl", result)

    def result(self) -> Any:
        """Return the saved result."""
        return pickle.loads((self.folder / "result.pkl").read_bytes())

    def keep_error(self, rank: int, error: Exception) -> None:
        """Save what ended a rank."""
        _write(self.folder / f"error-{rank}.pkl", (time.time(), portable(error)))

    def errors(self) -> list[tuple[int, Exception]]:
        """Return the ranks that an exception has ended, with that exception, the first one first."""
        found = []
        for path in self.folder.glob("error-*.pkl"):
            at, error = pickle.loads(path.read_bytes())
            found.append((at, int(path.stem.partition("-")[2]), error))
        return [(rank, error) for _, rank, error in sorted(found, key=lambda item: item[:2])]


def _write(path: Path, value: Any) -> None:
    """Write a file that is whole as soon as it is there."""
    draft = path.with_suffix(".part")
    draft.write_bytes(pickle.dumps(value))
    draft.replace(path)


@dataclass(frozen=True)
class Speaker:
    """The progress of the first rank: it writes down what the driver shows."""

    job: Job
    """The job."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Have a stage shown while the block runs."""
        began = time.monotonic()
        self._say(stage=title, total=total, unit=unit)
        yield _SpokenBar(self.job)
        self._say(took=time.monotonic() - began)

    def note(self, text: str) -> None:
        """Have a line of text shown."""
        self._say(note=text)

    def _say(self, **values: Any) -> None:
        say(self.job, values)


@dataclass(frozen=True)
class _SpokenBar:
    job: Job

    def advance(self, count: int = 1) -> None:
        """Have the bar move."""
        say(self.job, {"advance": count})

    def took(self, seconds: float) -> None:
        """Do nothing: the stage itself says so."""

    def beside(self, text: str) -> None:
        """Have a text shown beside the bar."""
        say(self.job, {"beside": text})

    def loss(self, step: int, value: float) -> None:
        """Have a loss shown."""
        say(self.job, {"loss": value, "at": step})


def say(job: Job, values: dict[str, Any]) -> None:
    """Append what is to be shown."""
    with open(job.said_file, "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")
