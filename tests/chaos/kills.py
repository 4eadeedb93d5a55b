"""A command killed at a random time or at a call that touches the disk, then repeated: as if it had not been killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.flips import flip
from tests.chaos.forks import Ended, command
from tests.chaos.judging import HELD, Case, Judged, Verdict, differences, fault, refusal, same_page
from tests.chaos.runs import Workshop, small_shards
from tests.chaos.verbs import COMMANDS

SIGNALS = (*[signal.SIGKILL] * 5, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What a command is ended with, as often."""
CALLS = ("fsync", "mkdir", "open", "remove", "rename", "replace", "rmdir", "unlink")
"""Functions of `os` at which a command is killed."""
MAX_KILLS = 3
"""Kills of one try, one after another."""
METHODS = "random_replay,sequential"
"""Of a comparison."""
OUT = "out"
"""Name of what a command writes beside the run."""


@dataclass(frozen=True)
class Written:
    """A command that writes."""

    verb: str
    """Its name."""
    state: str | None
    """The run that it works on; None: it makes one."""
    words: Callable[[Workshop, Path], tuple[object, ...]]
    """Its command line, of the workshop and a folder in which the run is called `run`."""
    prepare: Callable[[Workshop, Path], None] = lambda workshop, run: None
    """What is done to a copy of the state first."""
    tries: int = 12
    """Tries in the whole attack."""
    refuses_twice: bool = False
    """Once it is done, the same command ends with 2 and says so."""
    code: int = 0
    """Exit code when nothing disturbs it."""
    after: Callable[[Workshop, Path], tuple[object, ...]] | None = None
    """A command that follows, killed or not."""


def _add_images(workshop: Workshop, run: Path) -> None:
    """Add a dataset with images, and put these elsewhere as well."""
    words = ("add", run, workshop.inputs / "pictured.json", "--images", workshop.inputs / "images", "--quiet")
    command(words, run.parent / "said-prepare")
    shutil.copytree(workshop.inputs / "images", run.parent / "moved")


def _change_base(workshop: Workshop, run: Path) -> None:
    """Point a run to a base model of its own, which is another one."""
    base, config = run.parent / "base", run / "config.yaml"
    shutil.copytree(workshop.inputs / "base", base)
    flip(base / "model.safetensors", Random(0))
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(str(workshop.inputs / "base"), str(base)), encoding="utf-8")


def _damage(workshop: Workshop, run: Path) -> None:
    for name in ("evaluation/predictions.parquet", "selection/selection.parquet"):
        flip(run / "steps/01" / name, Random(0))


def _without_checksums(workshop: Workshop, run: Path) -> None:
    for path in run.rglob("checksums.json"):
        path.unlink()


WRITTEN = (
    Written("run", None, lambda w, f: ("run", w.stream(2), "--out", f / "run", "--quiet"), tries=24),
    Written("step", "waiting", lambda w, f: ("step", f / "run", "--quiet"), tries=16, refuses_twice=True),
    Written(
        "add",
        "finished",
        lambda w, f: ("add", f / "run", w.inputs / "three.json", "--quiet"),
        refuses_twice=True,
    ),
    Written("report", "finished", lambda w, f: ("report", f / "run")),
    Written(
        "export", "finished", lambda w, f: ("export", f / "run", "--step", 1, "--out", f / OUT, "--quiet"),
        refuses_twice=True,
    ),
    Written("restore", "finished", lambda w, f: ("restore", f / "run", w.pruned_id()), refuses_twice=True),
    Written("exclude", "finished", lambda w, f: ("exclude", f / "run", w.pruned_id())),
    Written("withdraw", "finished", lambda w, f: ("withdraw", f / "run", "two"), refuses_twice=True),
    Written("accept", "finished", lambda w, f: ("accept", f / "run", "base", "--quiet"), _change_base),
    Written(
        "relocate",
        "finished",
        lambda w, f: ("relocate", f / "run", w.inputs / "images", f / "moved"),
        _add_images,
        refuses_twice=True,
    ),
    Written(
        "verify --repair",
        "finished",
        lambda w, f: ("verify", f / "run", "--repair"),
        _damage,
        code=2,
        after=lambda w, f: ("run", f / "run" / "config.yaml", "--out", f / "run", "--quiet"),
    ),
    Written(
        "verify --adopt",
        "finished",
        lambda w, f: ("verify", f / "run", "--adopt"),
        _without_checksums,
        after=lambda w, f: ("verify", f / "run"),
    ),
    Written(
        "compare",
        None,
        lambda w, f: ("compare", w.stream(1), "--methods", METHODS, "--out", f / OUT, "--workers", 2, "--quiet"),
        tries=4,
    ),
)  # fmt: skip


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield the tries of every command that writes, at random times and at random calls in turn."""
    for one in WRITTEN:
        if one.verb.split()[0] in COMMANDS:
            for number in range(one.tries):
                kind = ("time", "call")[number % 2]
                do = partial(_try, workshop, one, kind)
                yield Case(f"kill, {one.verb}", f"kills/{one.verb}/{kind}/{number}", do, one.verb == "compare")


def _try(workshop: Workshop, one: Written, kind: str, scratch: Path, rng: Random) -> Judged:
    expected = undisturbed(workshop, one)
    num_calls, seconds = map(float, (expected / "length").read_text(encoding="utf-8").split())
    prepared(workshop, one, scratch)
    words = one.words(workshop, scratch)
    for number in range(rng.randint(1, MAX_KILLS)):
        what = rng.choice(SIGNALS)
        stop = (rng.uniform(0, seconds), what) if kind == "time" else None
        before = partial(_die_at_call, rng.randrange(int(num_calls)), what) if kind == "call" else small_shards
        ended = command(words, scratch / f"said{number}", before=before, stop=stop)
        judged = _killed(ended, what, one)
        if judged.verdict != Verdict.HELD:
            return judged
    return repeated(workshop, one, scratch, expected)


def _killed(ended: Ended, what: int, one: Written) -> Judged:
    """Judge a command that was killed, or had ended before that."""
    found = fault(ended, killed_by=what)
    if found is not None:
        return found
    return refusal(ended) if ended.code == 2 != one.code and not one.refuses_twice else HELD


def repeated(workshop: Workshop, one: Written, scratch: Path, expected: Path) -> Judged:
    """Repeat a command that did not come to its end, and compare what is there then with what `undisturbed` left."""
    ended = command(one.words(workshop, scratch), scratch / "said", before=small_shards)
    found = fault(ended) or (HELD if ended.code == one.code else refusal(ended))
    if found.verdict != Verdict.HELD:
        return found
    if ended.code != one.code and not one.refuses_twice:
        return Judged(Verdict.SILENT_WRONG, f"refused when it was repeated: {ended.err!r}")
    if one.after is not None:
        followed = command(one.after(workshop, scratch), scratch / "said-after", before=small_shards)
        if followed.code:
            return fault(followed) or Judged(Verdict.SILENT_WRONG, f"the command after it fails: {followed.err!r}")
    sides = [(expected / name, scratch / name) for name in ("run", OUT)]
    lines = [line for was, now in sides for line in differences(was, now)]
    if one.verb == "report":
        lines += same_page(*sides[0])
    lines += [f"{path.name} is left" for path in scratch.glob("run/[ps]*/**/*.part")]
    return Judged(Verdict.SILENT_WRONG, "; ".join(lines[:3])) if lines else HELD


def prepared(workshop: Workshop, one: Written, scratch: Path) -> None:
    if one.state is not None:
        one.prepare(workshop, workshop.copy(one.state, scratch / "run"))


def undisturbed(workshop: Workshop, one: Written) -> Path:
    """Return the folder of a command that nobody kills, with the number of its calls and its seconds."""
    folder = workshop.folder / "undisturbed" / one.verb.replace(" ", "")
    with workshop.made_once(folder) as is_new:
        if is_new:
            folder.mkdir(parents=True)
            prepared(workshop, one, folder)
            counted = folder / "calls"
            ended = command(one.words(workshop, folder), folder / "said", before=partial(_count_calls, counted))
            assert ended.code == one.code, f"{one.verb} fails undisturbed: {ended}"
            if one.after is not None:
                assert command(one.after(workshop, folder), folder / "said-after").code == 0
            num_calls = len(counted.read_bytes())
            (folder / "length").write_text(f"{num_calls} {ended.seconds}", encoding="utf-8")
    return folder


def _count_calls(place: Path) -> None:
    """Leave one byte at `place` for every call at which a command may be killed."""
    small_shards()
    descriptor = os.open(place, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    _on_calls(lambda number: os.write(descriptor, b"."))


def _die_at_call(wanted: int, what: int) -> None:
    small_shards()
    _on_calls(lambda number: os.kill(os.getpid(), what) if number == wanted else None)


def _on_calls(do: Callable[[int], Any]) -> None:
    """Call a function with the number of each call of CALLS, before that is made, in this process."""
    calls = [0]

    def watched(real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            number, calls[0] = calls[0], calls[0] + 1
            do(number)
            return real(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))
