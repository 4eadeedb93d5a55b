"""Compare two folders of outputs: every table, array, weight and JSON must hold the same values.

What may differ is listed in DIFFERS, what only the second folder may have in ADDED.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scripts.same_outputs.values import Values, read_values


class Exempt(NamedTuple):
    """Something that is not compared."""

    files: str
    """Pattern of paths below the outputs; `*` also spans folders."""
    places: str
    """Pattern of places in such a file; `*` also spans dots."""
    reason: str
    """Why."""
    was: Any = None
    """Only where the first folder has this value; None: whatever it has."""


RESOLVED = "the steps' settings hold what `auto` and defaulted options of the method stood for"
IGNORED = ("*report.html", "*.lock", "*.heartbeat.json", "places.json", "*trial.json")
"""Files that are not looked at: the page, locks, heartbeats, where the outputs were written, and trials, which name
file times."""

DIFFERS = (
    Exempt("*", "*seconds", "timings"),
    Exempt("*", "*seconds.*", "timings"),
    Exempt("*.jsonl", "*.time", "times"),
    Exempt("*", "*utc_time", "times"),
    Exempt("*", "*peak_bytes", "memory"),
    Exempt("*/status.json", "disk_bytes", "bytes on disk, with those of report.html"),
    Exempt("*/status.json", "activity.*", "what a process said last"),
    Exempt("*/status.json", "left.*", "timings"),
    Exempt("*", "*made_by*", "versions, git commits, times"),
    Exempt("*/info.json", "code", "versions"),
    Exempt("compare/comparison.json", "environment.*", "versions, git commits, times"),
    Exempt("demo/*/state.json", "_fingerprint", "digest of rows, which name images by where the demo put them"),
    Exempt("*/rejected.jsonl", "*.reason", "sentences"),
    Exempt("*/repaired.jsonl", "*.notes.*", "sentences"),
    Exempt("*/validate.json", "rejected.*.reason", "sentences"),
    Exempt("*/validate.json", "repaired.*.note", "sentences"),
    Exempt("*/list.json", "*", "sentences"),
    Exempt("*/explain/*.json", "notes.*", "sentences"),
    Exempt("*/explain/*.json", "*.reason", "sentences"),
    Exempt("*/explain/*.json", "*.absent", "sentences"),
    Exempt("*/explain/*.json", "*.untrained", "sentences"),
    Exempt("*summary.json", "reference", "sentences"),
    Exempt("compare.json", "relative_gain_against.*", "sentences"),
    Exempt("compare.json", "notes.*", "sentences"),
    Exempt("*/steps/config.yaml", "extraction.*", RESOLVED, was="auto"),
    Exempt("*/steps/config.yaml", "clustering.clusters", RESOLVED, was="auto"),
)
"""Values that may differ; the place itself must be on both sides."""

ADDED: tuple[Exempt, ...] = (
    Exempt("*/steps/config.yaml", "selection.options.*", RESOLVED),
    Exempt("*", "*made_by.resolved", "whether settings are resolved is recorded"),
    Exempt("*list.json", "executor.*", "executors are plug-ins, so they are listed"),
    Exempt("*/status.json", "activity*", "what a process said last"),
    Exempt("*/status.json", "left*", "timings"),
)
"""Files (place `*`) and places that only the second folder has, such as a new setting in steps/config.yaml."""

RENAMED_FILES = ((re.compile(r"\bmended\.jsonl$"), "repaired.jsonl"),)
SHARED_STAGE = re.compile(r"(?<=/shared/)([\w-]+)-[0-9a-f]{16}(?=/|$)")
"""A stage that runs of a comparison share; its hash covers the version and every setting, also those that are new."""


@dataclass
class Comparison:
    """What was compared, and what differs."""

    num_files: int = 0
    num_values: int = 0
    differences: list[str] = field(default_factory=list)
    """One line each: where, then what."""
    exempted: Counter[str] = field(default_factory=Counter)
    """Places that differ and may, by the reason."""


class Side(NamedTuple):
    """One folder of outputs."""

    folder: Path
    places: dict[str, str]
    """Absolute paths and the words that stand for them."""

    def tidy(self, text: str) -> str:
        """Return a text without the absolute paths that differ between two runs of one revision."""
        for path, word in self.places.items():
            text = text.replace(path, word)
        return text

    def files(self) -> dict[str, Path]:
        """Return every file that is compared, by its path with old names replaced."""
        found: dict[str, Path] = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not _matches(name, IGNORED):
                name = SHARED_STAGE.sub(r"\1", name)
                for pattern, new in RENAMED_FILES:
                    name = pattern.sub(new, name)
                assert name not in found, f"{path} and {found[name]} have one name once hashes are left out"
                found[name] = path
        return found


def side_of(folder: Path) -> Side:
    """Return a folder of outputs, which may hold places.json with the paths that were its own as it was written."""
    path = folder / "places.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"outputs": str(folder)}
    # The longer path first, as one may lie in the other.
    return Side(folder, {known[key]: f"<{key}>" for key in sorted(known, key=lambda key: -len(known[key]))})


def compare(before: Path, after: Path, *, skipped: Sequence[str] = (), added: Sequence[Exempt] = ADDED) -> Comparison:
    """Return what differs between two folders of outputs; `skipped` jobs are left out of both."""
    result, old, new = Comparison(), side_of(before), side_of(after)
    left_out = [pattern for job in skipped for pattern in (f"{job}/*", f"{job}.json", f"{job}_json/*")]
    old_files = {name: path for name, path in old.files().items() if not _matches(name, left_out)}
    new_files = {name: path for name, path in new.files().items() if not _matches(name, left_out)}
    for name in sorted(old_files.keys() | new_files.keys()):
        if name not in new_files:
            result.differences.append(f"{name}: missing after")
        elif name not in old_files:
            _note_added(result, name, "*", "a new file", added)
        else:
            result.num_files += 1
            values = (read_values(old_files[name], old.tidy), read_values(new_files[name], new.tidy))
            _compare_values(result, name, *values, added)
    return result


def _compare_values(result: Comparison, name: str, before: Values, after: Values, added: Sequence[Exempt]) -> None:
    for place in [*before, *(place for place in after if place not in before)]:
        if place not in after and before[place] in ({}, []) and any(other.startswith(f"{place}.") for other in after):
            continue  # it is not empty any more, and what is in it is noted below
        if place not in after:
            result.differences.append(f"{name}: {place}: missing after, was {_shown(before[place])}")
        elif place not in before:
            _note_added(result, name, place, _shown(after[place]), added)
        else:
            result.num_values += _size(before[place])
            difference = difference_of(before[place], after[place])
            if difference:
                listed = [item for item in DIFFERS if item.was is None or _is_same(item.was, before[place])]
                _note(result, name, place, difference, listed)


def _note_added(result: Comparison, name: str, place: str, what: str, added: Sequence[Exempt]) -> None:
    _note(result, name, place, f"only after: {what}", added)


def _note(result: Comparison, name: str, place: str, what: str, exempt: Sequence[Exempt]) -> None:
    for item in exempt:
        if fnmatchcase(name, item.files) and fnmatchcase(place, item.places):
            result.exempted[item.reason] += 1
            return
    result.differences.append(f"{name}: {place}: {what}")


def difference_of(before: Any, after: Any) -> str | None:
    """Return in what two values differ; None where they are the same, NaN being the same as NaN."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return _array_difference(before, after)
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return f"{len(before)} values, {len(after)} after"
        rows = [row for row, pair in enumerate(zip(before, after, strict=True)) if not _is_same(*pair)]
        if not rows:
            return None
        first = f"row {rows[0]} is {_shown(before[rows[0]])}, {_shown(after[rows[0]])} after"
        return f"{len(rows)} of {len(before)} values differ; {first}"
    return None if _is_same(before, after) else f"{_shown(before)}, {_shown(after)} after"


def _array_difference(before: np.ndarray, after: np.ndarray) -> str | None:
    if (before.dtype, before.shape) != (after.dtype, after.shape):
        return f"{before.dtype} {before.shape}, {after.dtype} {after.shape} after"
    is_number = before.dtype.kind in "fc"
    is_same = (before == after) | (np.isnan(before) & np.isnan(after)) if is_number else before == after
    if is_same.all():
        return None
    first = tuple(int(index) for index in np.argwhere(~is_same)[0])
    largest = np.nanmax(np.abs(before.astype(np.float64) - after.astype(np.float64))) if is_number else None
    by_at_most = "" if largest is None else f", by at most {largest:.3g}"
    place = f"{list(first)} is {before[first]!r}, {after[first]!r} after"
    return f"{int((~is_same).sum())} of {before.size} values differ{by_at_most}; {place}"


def _is_same(before: Any, after: Any) -> bool:
    if isinstance(before, float) and isinstance(after, float):
        return before == after or (math.isnan(before) and math.isnan(after))
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_is_same, before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_is_same(before[key], after[key]) for key in before)
    return type(before) is type(after) and bool(before == after)


def _size(value: Any) -> int:
    return value.size if isinstance(value, np.ndarray) else len(value) if isinstance(value, list) else 1


def _shown(value: Any) -> str:
    text = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
