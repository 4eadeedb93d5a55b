"""config.yaml of a run with a value, a key or a piece of text changed at random: refused by name, or without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.chaos.forks import Ended, command
from tests.chaos.judging import Case, Judged, differences, fault, judged, refusal
from tests.chaos.runs import Workshop, small_shards
from tests.chaos.verbs import honest

TRIES = {"value": 120, "key": 40, "text": 60, "argument": 80, "new run": 40}
"""Kind of mutation -> its tries."""
VALUES = (
    None, True, -1, 0, 1, 2**63, 10**30, -0.5, 1e308, float("nan"), float("inf"), "", " ", "x", "auto", "none", "../x",
    "/dev/zero", "/proc/self/mem", "a\x1b[31m", "\u202ex", "2024-99-99", "x" * 20_000, [], [None], [[]], {}, {"x": 1},
    {"": None}, [1] * 50,
)  # fmt: skip
RAW = (
    "2024-99-99", "99:99:99", "1" * 5000, "!!python/object:os.system x", "!!binary x", "&a [*a]", "*b", "{", "[",
    "'", '"', "%", "@", "`", "\t", "? x", "- -", "<<: 1", "!!set {a}", "!!omap [1]", "0x", "1e999", ".inf", ".nan", "~",
)  # fmt: skip
"""Values as YAML text, which only its parser refuses."""


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield tries of each kind of mutation."""
    for kind, tries in TRIES.items():
        for number in range(tries):
            yield Case(f"mutated config, {kind}", f"mutations/{kind}/{number}", partial(_try, workshop, kind))


def _try(workshop: Workshop, kind: str, scratch: Path, rng: Random) -> Judged:
    if kind == "new run":
        return _try_new(workshop, scratch, rng)
    run = workshop.copy("finished", scratch / "run")
    config, words = run / "config.yaml", ["run", run / "config.yaml", "--out", run, "--quiet"]
    if kind == "argument":
        words += ["--set", f"{rng.choice(_places(yaml.safe_load(config.read_text())))}={_argument(rng)}"]
    else:
        config.write_bytes(_mutated(config.read_text(encoding="utf-8"), kind, rng))
        if rng.random() < 0.3:
            words = [rng.choice(("status", "step", "report")), run]
    ended = command(words, scratch / "said", before=small_shards)
    expected = honest(workshop, "finished", "run").folder / "run"
    if words[0] == "step" and ended.code == 2:
        return fault(ended) or refusal(ended, is_argument=True)
    return _judged(ended, lambda: differences(expected, run, without=("config.yaml",)))


def _try_new(workshop: Workshop, scratch: Path, rng: Random) -> Judged:
    """Mutate the stream file of a run that is still to be made: it may do whatever it then says, but not crash."""
    stream = scratch / "stream.yaml"
    stream.write_bytes(_mutated(workshop.stream(1).read_text(encoding="utf-8"), rng.choice(("value", "text")), rng))
    ended = command(("run", stream, "--out", scratch / "run", "--quiet"), scratch / "said", before=small_shards)
    return _judged(ended, lambda: [])


def _judged(ended: Ended, same: Callable[[], list[str]]) -> Judged:
    """Judge a command: what is wrong with a setting needs no file to be named."""
    return (fault(ended) or refusal(ended, is_argument=True)) if ended.code else judged(ended, same)


def _argument(rng: Random) -> str:
    value = rng.choice(VALUES) if rng.random() < 0.6 else rng.choice(RAW)
    return str(value).replace("\x00", "")


def _mutated(text: str, kind: str, rng: Random) -> bytes:
    """Return a file with one mutation."""
    if kind == "text":
        return _mutated_text(text, rng)
    content = yaml.safe_load(text)
    *outer, last = rng.choice(_places(content)).split(".")
    holder: Any = content
    for key in outer:
        holder = holder[int(key)] if isinstance(holder, list) else holder[key]
    place: Any = int(last) if isinstance(holder, list) else last
    if kind == "value":
        holder[place] = rng.choice(VALUES)
    elif isinstance(holder, dict) and rng.random() < 0.5:
        holder[rng.choice(("x", "", last.upper(), f"{last} ", 1, None))] = holder.pop(place)
    else:
        del holder[place]
    return yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")


def _mutated_text(text: str, rng: Random) -> bytes:
    lines = text.splitlines()
    at = rng.randrange(len(lines))
    content = text.encode()
    kind = rng.randrange(6)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        place = rng.randrange(len(content))
        return content[:place] + rng.randbytes(rng.randrange(1, 9)) + content[place:]
    if kind == 2:
        return "\n".join([*lines[:at], lines[rng.randrange(len(lines))], *lines[at:]]).encode()
    if kind == 3:
        return "\n".join([*lines[:at], *lines[at + 1 :]]).encode()
    if kind == 4:
        return text.encode("utf-16")
    key = lines[at].split(":")[0]
    return "\n".join([*lines[:at], f"{key}: {rng.choice(RAW)}", *lines[at + 1 :]]).encode()


def _places(value: Any, place: str = "") -> list[str]:
    """Return the dotted place of every value, sections too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, item in items:
        own = f"{place}.{key}" if place else str(key)
        found += [own, *_places(item, own)]
    return found
