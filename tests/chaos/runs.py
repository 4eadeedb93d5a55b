"""The runs that are attacked, made once: each state is a folder that every try gets a copy of.

All states stand on the same files: a tiny base model of our own copy, three datasets of text, two tests.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.chaos.forks import Ended, command
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

BASE_FILES = ("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors")
SIZES = {"one": 50, "two": 40, "three": 40}
"""Name of each dataset -> its rows."""
HALF_DONE = {
    "half-features": ("adaptinf.extraction.work:_measure_batches", 2),
    "half-model": ("adaptinf.training.trainer:Reporter.on_step_end", 8),
    "half-tests": ("adaptinf.data:Evaluation.save", 1),
}
"""State -> the call (module:name, how many-th) at which the third step was killed; each goes on from the former."""


@dataclass
class Workshop:
    """The folder with everything that is made once."""

    folder: Path
    """Where it lies."""
    scratch: Path = field(init=False)
    """Where tries make their copies."""

    def __post_init__(self) -> None:
        self.scratch = self.folder / "tries"

    @property
    def inputs(self) -> Path:
        """Base model, datasets, tests and stream files."""
        return self.folder / "inputs"

    def stream(self, num_datasets: int) -> Path:
        """Return the stream file of the first datasets."""
        return self.inputs / f"stream-{num_datasets}.yaml"

    def state(self, name: str) -> Path:
        """Return the run folder of a state; it is never changed, and never handed to a command."""
        return self.folder / "states" / name

    def copy(self, name: str, place: Path) -> Path:
        """Return a copy of a state at `place`, byte by byte: hard links would carry damage back."""
        shutil.copytree(self.state(name), place, symlinks=True)
        return place

    @contextmanager
    def made_once(self, folder: Path) -> Iterator[bool]:
        """Hold a lock on a folder for the block, and tell whether nobody has made it so far."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.with_name(f"{folder.name}.lock"), "a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            is_new = not lock.read()
            yield is_new
            lock.write("made" if is_new else "")

    def pruned_id(self) -> str:
        """Return the id of a sample that the first step has pruned."""
        return str(pq.read_table(self.state("finished") / "steps/00/pruning/pruned.parquet")["id"][0].as_py())


def make(folder: Path, say: Callable[[str], None]) -> Workshop:
    """Make inputs and all states."""
    workshop = Workshop(folder)
    _write_inputs(workshop)
    _make_finished(workshop)
    _make_waiting(workshop)
    former = "waiting"
    for name, (target, call) in HALF_DONE.items():
        _make_half_done(workshop, former, name, target, call)
        former = name
    for page in folder.glob("states/*/report.html"):
        page.unlink()  # five megabytes less to copy for each try, and `report` makes it again
    say(f"made {', '.join(sorted(path.name for path in (folder / 'states').iterdir()))} in {folder}")
    return workshop


def _write_inputs(workshop: Workshop) -> None:
    inputs = workshop.inputs
    shutil.copytree(BASE_PATH, inputs / "base")
    datasets = [write_dataset(inputs, name, rows(count, images=False, word=name)) for name, count in SIZES.items()]
    write_dataset(inputs, "pictured", rows(6))
    items = rows(8, images=False)
    tests = [write_test(inputs, "colours", items[::2]), write_test(inputs, "sums", items[1::2])]
    for count in range(1, len(datasets) + 1):
        write_stream(
            workshop.stream(count),
            datasets[:count],
            tests,
            model={"path": str(inputs / "base")},
            selection={"method": "adapt_plus", "budget": 20},
            training={"tune": "lora"},
            pruning={"cap": 45},
        )


def _make_finished(workshop: Workshop) -> None:
    """Two steps; after the first one a pruned sample was restored and the selection exported."""
    place, scratch = workshop.state("finished"), workshop.folder / "made"
    _must(command(("run", workshop.stream(1), "--out", place, "--quiet"), scratch, before=small_shards))
    restored = pq.read_table(place / "steps/00/pruning/pruned.parquet")["id"][1].as_py()
    _must(command(("restore", place, restored), scratch))
    _must(command(("run", workshop.stream(2), "--out", place, "--quiet"), scratch, before=small_shards))
    _must(command(("export", place, "--step", 0, "--quiet"), scratch))


def _make_waiting(workshop: Workshop) -> None:
    """Two steps, and a third dataset that waits; the second one was withdrawn."""
    place, scratch = workshop.copy("finished", workshop.state("waiting")), workshop.folder / "made"
    _must(command(("withdraw", place, "two"), scratch))
    _must(command(("add", place, workshop.inputs / "three.json", "--quiet"), scratch))


def _make_half_done(workshop: Workshop, former: str, name: str, target: str, call: int) -> None:
    place = workshop.copy(former, workshop.state(name))

    def before() -> None:
        small_shards()
        die_at(target, call)

    ended = command(("step", place, "--quiet"), workshop.folder / "made", before=before)
    assert ended.code == -signal.SIGKILL, f"{name}: not killed but {ended}"


def small_shards() -> None:
    """Measure in shards of one batch, so that forty samples make several."""
    from adaptinf.extraction import cuts

    cuts.SHARD_SECONDS = 0.0


def die_at(target: str, call: int) -> None:
    """Make this process kill itself at a call of a function: `module:name` or `module:Class.name`."""
    module, _, path = target.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    real, calls = getattr(holder, name), [0]

    def deadly(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(holder, name, deadly)


def _must(ended: Ended) -> None:
    assert ended.code == 0, ended
