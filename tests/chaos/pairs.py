"""Two commands on one folder at once: which of them are allowed, and that the run is then as after one of them alone.

TABLE has every pair of verbs; docs/run-folder.md holds it, and a test compares the two.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement, permutations
from pathlib import Path
from random import Random

import pyarrow.parquet as pq

from tests.chaos.forks import Ended, command
from tests.chaos.judging import HELD, Case, Judged, Verdict, differences, fault, refusal
from tests.chaos.runs import Workshop, small_shards
from tests.chaos.verbs import COMMANDS

CHANGES, READS, WRITES = "changes the run", "reads", "writes a file or folder of its own"
"""What a verb does to the folder."""
ONE, BOTH, FIRST = "one", "both", "first"
"""What two of them may do at once: one is refused as the folder is in use; both; the second one finds the folder that
the first one wrote."""
RUN, OUT, NEW, COMPARED = "run", "out", "new", "compared"
"""Folders in the folder of a try: a run, what is written beside it, one that does not exist yet, a comparison."""
OF_PATHS = ("state.json: _fingerprint: ", "check/info.json: content: ")
"""Hashes over rows that name the absolute paths of images, as those of the demo do: they differ between two folders."""
SECONDS_TO_MEET = 30.0
METHODS = "random_replay,sequential"
ROW = f"{COMPARED}/random_replay/seed-0"


@dataclass(frozen=True)
class Verb:
    """A command of a pair."""

    name: str
    """Its name in the table."""
    role: str
    """CHANGES, READS or WRITES."""
    words: Callable[[Workshop, Path, str], tuple[object, ...]]
    """Its command line, of the workshop, the folder of the try and the name of the run in it."""

    @property
    def is_known(self) -> bool:
        """Whether this version of the command line has it."""
        return self.name.split()[0] in COMMANDS


ON_A_RUN = (
    Verb("run", CHANGES, lambda w, f, run: ("run", f / run / "config.yaml", "--out", f / run, "--quiet")),
    Verb("step", CHANGES, lambda w, f, run: ("step", f / run, "--quiet")),
    Verb("add", CHANGES, lambda w, f, run: ("add", f / run, w.inputs / "one.json", "--name", "four", "--quiet")),
    Verb("restore", CHANGES, lambda w, f, run: ("restore", f / run, w.pruned_id())),
    Verb("exclude", CHANGES, lambda w, f, run: ("exclude", f / run, an_id(w))),
    Verb("withdraw", CHANGES, lambda w, f, run: ("withdraw", f / run, "one")),
    Verb("accept", CHANGES, lambda w, f, run: ("accept", f / run, "base", "--quiet")),
    Verb("relocate", CHANGES, lambda w, f, run: ("relocate", f / run, w.inputs, w.inputs / "base")),
    Verb("verify --repair", CHANGES, lambda w, f, run: ("verify", f / run, "--repair")),
    Verb("verify", READS, lambda w, f, run: ("verify", f / run)),
    Verb("status", READS, lambda w, f, run: ("status", f / run, "--json")),
    Verb("explain", READS, lambda w, f, run: ("explain", f / run, an_id(w), "--json")),
    Verb("report", WRITES, lambda w, f, run: ("report", f / run)),
    Verb("export", WRITES, lambda w, f, run: ("export", f / run, "--step", 0, "--out", f / OUT, "--quiet")),
)
"""Commands on a run that exists, two steps long, with a dataset that waits."""
ON_NOTHING = (
    Verb("init", CHANGES, lambda w, f, run: ("init", f / NEW, "--model", w.inputs / "base")),
    Verb("run (new)", CHANGES, lambda w, f, run: ("run", w.stream(1), "--out", f / NEW, "--quiet")),
    Verb("compare", CHANGES, lambda w, f, run: (
        "compare", w.stream(1), "--methods", METHODS, "--workers", 2, "--out", f / NEW, "--quiet")),
    Verb("demo", CHANGES, lambda w, f, run: (
        "demo", "--steps", 1, "--methods", "random_replay", "--out", f / NEW, "--quiet")),
)  # fmt: skip
"""Commands that make a folder."""
COMPARE = Verb("compare", CHANGES, lambda w, f, run: (
    "compare", w.stream(1), "--methods", "random_replay", "--workers", 1, "--out", f / COMPARED, "--quiet",
))  # fmt: skip
"""On a comparison that exists: a row that it makes is the run of the other command."""


def an_id(workshop: Workshop) -> str:
    """Return the id of a sample that the first step selected."""
    return str(pq.read_table(workshop.state("waiting") / "steps/00/selection/selection.parquet")["id"][0].as_py())


def outcome(first: Verb, second: Verb) -> str:
    """Return what a pair may do at once."""
    if first.role == second.role == CHANGES:
        return ONE
    return FIRST if first.name == second.name == "export" else BOTH


def table() -> str:
    """Return the table of all pairs on one run folder, in Markdown."""
    names = [verb.name for verb in ON_A_RUN]
    lines = [["", *(f"`{name}`" for name in names)], ["---"] * (len(names) + 1)]
    lines += [[f"`{verb.name}`", *(outcome(verb, other) for other in ON_A_RUN)] for verb in ON_A_RUN]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield every pair."""
    for first, second in combinations_with_replacement([verb for verb in ON_A_RUN if verb.is_known], 2):
        yield _case(workshop, first, second, "waiting")
    for first, second in combinations_with_replacement([verb for verb in ON_NOTHING if verb.is_known], 2):
        yield _case(workshop, first, second, NEW)
    for verb in (verb for verb in ON_A_RUN if verb.is_known):
        yield _case(workshop, COMPARE, verb, COMPARED)


def _case(workshop: Workshop, first: Verb, second: Verb, state: str) -> Case:
    name = f"pairs/{state}/{first.name}/{second.name}"
    is_long = state != "waiting" or {first.name, second.name} & {"run", "step"} != set()
    return Case("two commands at once", name, partial(_try, workshop, (first, second), state), is_long=is_long)


def _try(workshop: Workshop, pair: tuple[Verb, Verb], state: str, scratch: Path, rng: Random) -> Judged:
    _prepare(workshop, state, scratch)
    delays = (0.0, rng.choice((0.0, 0.0, rng.uniform(0, 1))))
    ends = both([_words(workshop, verb, state, scratch) for verb in pair], scratch, delays)
    for ended in ends:
        if (found := fault(ended)) is not None:
            return found
    done = [verb for verb, ended in zip(pair, ends, strict=True) if not ended.code]
    for number, ended in enumerate(ends):
        if ended.code and (found := _refused(workshop, pair[number], pair[1 - number], state, ended)) is not None:
            return found
    if outcome(*pair) == FIRST and len(done) != 1:
        return Judged(Verdict.SILENT_WRONG, f"{len(done)} of two said that they wrote one folder")
    return _compared(workshop, done, state, scratch)


def _prepare(workshop: Workshop, state: str, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if state == "waiting":
        workshop.copy(state, place / RUN)
    elif state == COMPARED:
        made = alone(workshop, [COMPARE], "nothing")
        workshop.copy(os.path.relpath(made / COMPARED, workshop.state("")), place / COMPARED)


def _words(workshop: Workshop, verb: Verb, state: str, place: Path) -> tuple[object, ...]:
    return verb.words(workshop, place, ROW if state == COMPARED else RUN)


def both(words: Sequence[Sequence[object]], scratch: Path, delays: Sequence[float]) -> tuple[Ended, Ended]:
    """Run two commands, each in a process of its own, which begin when both are there, and so much later."""
    place = scratch / "second"
    other = os.fork()
    if not other:
        try:
            meet = partial(_meet, scratch / "is-there-2", scratch / "is-there-1", delays[1])
            place.write_bytes(pickle.dumps(command(words[1], scratch / "said-2", before=meet)))
        finally:
            os._exit(0)
    meet = partial(_meet, scratch / "is-there-1", scratch / "is-there-2", delays[0])
    ended = command(words[0], scratch / "said-1", before=meet)
    os.waitpid(other, 0)
    second: Ended = pickle.loads(place.read_bytes())
    return ended, second


def _meet(own: Path, other: Path, delay: float) -> None:
    small_shards()
    own.touch()
    end = time.monotonic() + SECONDS_TO_MEET
    while not other.exists():
        assert time.monotonic() < end, "the other command never began"
        time.sleep(0.001)
    time.sleep(delay)


def _refused(workshop: Workshop, verb: Verb, other: Verb, state: str, ended: Ended) -> Judged | None:
    """Return the fault of a command that was refused; None: it may be, as the other one is at work or has done it."""
    found = refusal(ended)
    if found.verdict != Verdict.HELD:
        return found
    if "is in use by process" in ended.err and outcome(verb, other) == ONE:
        return None
    if _codes(workshop, [verb], state)[-1] or _codes(workshop, [other, verb], state)[-1]:
        return None
    return Judged(Verdict.SILENT_WRONG, f"{verb.name} was refused beside {other.name}: {ended.err!r}")


def _compared(workshop: Workshop, done: Sequence[Verb], state: str, scratch: Path) -> Judged:
    """Compare with the commands that said they succeeded, one after another in any order."""
    found = []
    for order in dict.fromkeys(permutations(done)):
        if any(_codes(workshop, order, state)):
            continue
        expected = alone(workshop, order, state)
        lines = [
            line
            for name in (RUN, OUT, NEW, COMPARED)
            for line in differences(expected / name, scratch / name, places=[(expected, scratch)])
            if not any(place in line for place in OF_PATHS)
        ]
        lines += [f"{path.name} is left" for path in scratch.rglob("*.part")]
        if not lines:
            return HELD
        found.append("; ".join(lines[:3]))
    names = " and ".join(verb.name for verb in done)
    return Judged(Verdict.SILENT_WRONG, f"{names} said they succeeded, but {' | '.join(found) or 'never do in turn'}")


def _codes(workshop: Workshop, verbs: Sequence[Verb], state: str) -> list[int]:
    return pickle.loads((alone(workshop, verbs, state) / "codes").read_bytes())  # type: ignore[no-any-return]


def alone(workshop: Workshop, verbs: Sequence[Verb], state: str) -> Path:
    """Return the folder in which commands worked one after another, with their exit codes; made once."""
    folder = workshop.folder / "alone" / "+".join([state, *(verb.name.replace(" ", "_") for verb in verbs)])
    with workshop.made_once(folder) as is_new:
        if is_new:
            _prepare(workshop, state, folder)
            codes = []
            for number, verb in enumerate(verbs):
                words = _words(workshop, verb, state, folder)
                codes.append(command(words, folder / f"said-{number}", before=small_shards).code)
            (folder / "codes").write_bytes(pickle.dumps(codes))
    return folder
