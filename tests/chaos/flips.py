"""One bit of one file flipped, at a random place; then one command."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos.judging import Case, Judged
from tests.chaos.runs import HALF_DONE, Workshop
from tests.chaos.verbs import COMMANDS, try_verb

VERBS_OF = {
    "finished": ("status", "explain", "export", "report", "verify"),
    "waiting": ("run", "verify"),
    **{state: ("run", "status", "verify") for state in HALF_DONE},
}
"""State -> the commands that are tried on it."""
SLOW = ("run", "report")
"""Commands of a second or more."""


def files_of(workshop: Workshop, state: str) -> list[str]:
    """Return every file of a state that has bytes, and that this state has not in common with a former one."""
    folder = workshop.state(state)
    found = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return [name for name in found if (folder / name).stat().st_size and name not in (".lock", ".heartbeat.json")]


def flip(path: Path, rng: Random) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cases(workshop: Workshop, *, flips: int = 24, slow_flips: int = 3) -> Iterator[Case]:
    """Yield `flips` tries of every file with every command, `slow_flips` with the slow ones."""
    for state, verbs in VERBS_OF.items():
        for name in files_of(workshop, state):
            for verb in verbs:
                if verb in COMMANDS:
                    for number in range(slow_flips if verb in SLOW else flips):
                        do = partial(_try, workshop, state, name, verb)
                        yield Case(f"flip, {verb}", f"flips/{state}/{name}/{verb}/{number}", do)


def _try(workshop: Workshop, state: str, name: str, verb: str, scratch: Path, rng: Random) -> Judged:
    return try_verb(workshop, state, verb, scratch, lambda run: flip(run / name, rng), name)
