"""In which class a try ends, and what "the same result" is."""

from __future__ import annotations

import json
import re
import signal
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from scripts.same_outputs.comparison import difference_of
from scripts.same_outputs.values import read_values
from tests.chaos.forks import Ended


class Verdict(StrEnum):
    """How a try ended; all but the last are faults."""

    SILENT_WRONG = "silent wrong"
    TRACEBACK = "traceback"
    SEGFAULT = "segfault"
    HANG = "hang"
    POOR_MESSAGE = "poor message"
    HELD = "held"


@dataclass(frozen=True)
class Judged:
    """One class, and why."""

    verdict: Verdict
    why: str = ""


HELD = Judged(Verdict.HELD)


@dataclass(frozen=True)
class Case:
    """One try, which repeats exactly: all that it draws comes from its seed and name."""

    attack: str
    """Its row of the table."""
    name: str
    """Its name on the command line; unique."""
    do: Callable[[Path, Random], Judged]
    """Carries it out in an empty folder of its own."""
    is_long: bool = False
    """It takes half a minute, so a sample for every push goes without it."""


LOGS = (".lock", ".heartbeat.json", "events.jsonl", "report.html", "trial.json")
"""Files that are no result: who held the lock, what that process said last, when stages began and ended, the page
(judged by `same_page`), and what the trial of the model found, whose key has file times."""
HASHES = "checksums.json"
"""Hashes of files of which some name paths; whether they fit is for `adaptinf verify` to say."""
EXCEPTED = (
    # timings
    ("*", "*seconds"),
    ("*", "*seconds.*"),
    ("*", "*seconds_left"),
    ("*", "*peak_bytes"),
    # dates, and the checksum of a line that has one
    ("*.jsonl", "*.time"),
    ("*.jsonl", "*.xxh3"),
    ("*", "*utc_time"),
    ("*manifest.json", "checksum"),  # of the other values
    # versions
    ("*", "*made_by*"),
    ("*/info.json", "code"),
    ("*", "environment.*"),
    # where the files of the base model lie, and when they were written
    ("steps/base.json", "models.*.path"),
    ("steps/base.json", "models.*.states.*"),
    ("steps/base.json", "checksum"),
    # bytes on disk, of which a kill may leave more, and unfinished stages
    ("status.json", "disk_bytes"),
    ("status.json", "*under_way*"),
    # what a process said last, and what follows from it
    ("status.json", "activity.*"),
    ("status.json", "left.*"),
)
"""Patterns of files and of places in them whose values may differ between two equal results; paths are compared as if
both folders lay in one place."""
OF_A_PAGE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"  # dates
    r"|(?:\d[\d.,]*|–|less than \d+)[\xa0 ](?:ms|s|min|h|d|bytes|B|KB|MB|GB)\b"  # durations, and bytes on disk
    r'|"(?:bytes|\w*seconds|peak_bytes)":\[[^\]]*\]'  # the same as numbers of a plot
)
"""What may differ between two reports."""
MAX_MESSAGE = 1100
"""A thousand characters, and what begins and ends a line that was cut."""
PATH = re.compile(
    r"/|\w\.(?:yaml|json|jsonl|parquet|npy|arrow|html|safetensors|txt)\b"  # a file
    r"|\b\w+=|\b[a-z_]+\.[a-z_]+\b|--\w+"  # a setting or an option
)
"""A message names a file, a folder, a setting or an option."""
WAY_OUT = re.compile(
    r"\b(?:add|adaptinf [a-z]+|begin|bring|check|choose|copy|correct|delete|did you mean|edit|exist|fix|free|give|"
    r"install|known|leave|line \d+|list|make|mount|move|must|name|needs?|numbered|put|remove|rename|repeat|"
    r"replace|required|restore|run|same command|see|set|shorten|should|start|stop|take|use|wait|write)\b"
)
"""A message says what to do."""
BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0x2028, 0x2029}


def raw_controls(text: str) -> list[str]:
    """Return the control and bidi characters of what was printed, line breaks and tabs excepted."""
    found = {char for char in text if ord(char) in BIDI or (unicodedata.category(char) == "Cc" and char not in "\n\t")}
    return sorted(f"U+{ord(char):04X}" for char in found)


def fault(ended: Ended, *, killed_by: int = 0) -> Judged | None:
    """Return the fault of a command that crashed, hung or printed control characters; None: exit 0, 2 or 130."""
    if ended.is_late:
        return Judged(Verdict.HANG, f"no end after {ended.seconds:.0f} s: {ended.err[-1500:]}")
    if ended.code < 0 and ended.code != -killed_by:
        return Judged(Verdict.SEGFAULT, f"ended by {signal.Signals(-ended.code).name}")
    # Python drops a Ctrl-C that comes while it cleans up, and says so.
    is_dropped = killed_by == signal.SIGINT and ended.code != 1 and "Exception ignored in" in ended.err
    if ended.code == 1 or ("Traceback (most recent call last)" in ended.err and not is_dropped):
        return Judged(Verdict.TRACEBACK, _last_line(ended.err))
    if found := raw_controls(ended.out + ended.err):
        return Judged(Verdict.POOR_MESSAGE, f"raw {', '.join(found)} printed")
    if ended.code not in (0, 2, 130) and ended.code >= 0:
        return Judged(Verdict.TRACEBACK, f"exit code {ended.code}: {_last_line(ended.err)}")
    return None


def refusal(ended: Ended, names: Sequence[str] = (), *, is_argument: bool = False) -> Judged:
    """Judge what a command that ended with 2 says: one line, not long, with a place and a way out.

    A list of mistakes has an indented line for each. The line has one of `names`, where there are any. What is wrong
    with an argument (`is_argument`) needs no place.
    """
    lines = [line for line in ended.err.splitlines() if not line.startswith(("note:", "warning:"))]
    poor = Verdict.POOR_MESSAGE
    if not lines or not lines[0].startswith("adaptinf: ") or any(line[:2].strip() for line in lines[1:]):
        return Judged(poor, f"{len(lines)} lines: {ended.err[:300]!r}")
    said = "\n".join(lines)
    if len(lines[0]) > MAX_MESSAGE or len(said) > 10 * MAX_MESSAGE:
        return Judged(poor, f"{len(said):,} characters: {said[:200]!r}")
    if not is_argument and not PATH.search(said):
        return Judged(poor, f"no file, folder or setting: {said!r}")
    if not WAY_OUT.search(said.removeprefix("adaptinf: ")):
        return Judged(poor, f"no way out: {said!r}")
    if names and not any(name in said for name in names):
        return Judged(poor, f"names none of {', '.join(names)}: {said!r}")
    return HELD


def judged(ended: Ended, same: Callable[[], list[str]], names: Sequence[str] = (), *, noted: str = "") -> Judged:
    """Judge a command that should do what it does in the honest run, or refuse by name.

    What differs is no fault where the command itself says so: where it prints `noted`, the path of what is damaged.
    """
    found = fault(ended)
    if found is not None:
        return found
    if ended.code:
        return refusal(ended, names)
    lines = same()
    if not lines or (noted and noted in ended.out + ended.err):
        return HELD
    return Judged(Verdict.SILENT_WRONG, "; ".join(lines[:3]))


def differences(
    honest: Path, found: Path, *, without: Sequence[str] = (), places: Sequence[tuple[Path, Path]] = ()
) -> list[str]:
    """Return in what the results of two run folders, or two exports, differ; files of the names `without` are left out.

    A result is every file but LOGS, and every value in it but EXCEPTED. Names that end in `.part` are no results. The
    folders that the two lie in count as one place, and so does each pair of `places`.
    """
    left_out = (*LOGS, HASHES, *without)
    before, after = (dict(_files(folder, left_out)) for folder in (honest, found))
    lines = [f"{name} is missing" for name in sorted(before.keys() - after.keys())]
    lines += [f"{name} is new" for name in sorted(after.keys() - before.keys())]
    pairs = (*places, (honest.parent, found.parent))  # inner places first
    tidy = [partial(_without_places, places=[pair[side] for pair in pairs]) for side in (0, 1)]
    for name in sorted(before.keys() & after.keys()):
        if before[name].read_bytes() != after[name].read_bytes():
            try:
                values = [read_values(path, tidy[side]) for side, path in enumerate((before[name], after[name]))]
            except (OSError, ValueError, KeyError, ArithmeticError) as error:
                lines.append(f"{name} cannot be read: {error}")
            else:
                lines += value_differences(name, *values)
    return lines


def _without_places(text: str, places: Sequence[Path]) -> str:
    for number, place in enumerate(places):
        text = text.replace(str(place), f"PLACE{number}")
    return text


def _files(folder: Path, left_out: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_left_out = path.name in left_out or name in left_out or any(name.startswith(f"{item}/") for item in left_out)
        if path.is_file() and not is_left_out and not any(".part" in part for part in Path(name).parts):
            yield name, path


def value_differences(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield in what the values of one file differ, EXCEPTED ones left out."""
    for place in sorted(before.keys() | after.keys()):
        if any(fnmatchcase(name, files) and fnmatchcase(place, places) for files, places in EXCEPTED):
            continue
        if place not in before or place not in after:
            yield f"{name}: {place} is {'new' if place in after else 'missing'}"
        elif difference := difference_of(before[place], after[place]):
            yield f"{name}: {place}: {difference}"


def same_json(honest: str, found: str, name: str, places: Sequence[Path]) -> list[str]:
    """Return in what two outputs of `--json` differ; `places`: the folder of each, which counts as one place."""
    texts = [text.replace(str(place), "RUN") for text, place in zip((honest, found), places, strict=True)]
    try:
        values = [json.loads(text) for text in texts]
    except ValueError as error:
        return [f"{name}: no JSON: {error}"]
    return list(value_differences(name, *({place: value for place, value in _flat(item)} for item in values)))


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield place, value
    else:
        for key, item in items:
            yield from _flat(item, f"{place}.{key}" if place else str(key))


def same_page(honest: Path, found: Path) -> list[str]:
    """Return whether the reports of two runs differ in more than the time and the place of the run."""
    texts = [
        OF_A_PAGE.sub("...", (folder / "report.html").read_text(encoding="utf-8").replace(str(folder), "RUN"))
        for folder in (honest, found)
    ]
    if texts[0] == texts[1]:
        return []
    at = next((n for n, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), min(map(len, texts)))
    shown = [text[max(0, at - 30) : at + 50] for text in texts]
    return [f"report.html: {shown[0]!r}, {shown[1]!r} after"]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and "this is a bug in adaptinf" not in line]
    return lines[-1][:300] if lines else "no word"
