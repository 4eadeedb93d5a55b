"""The result of a harness, from the files that it has written: a score in 0..1, its items, its version."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from adaptinf.errors import DataError
from adaptinf.evaluation.harness.tests import HarnessTest
from adaptinf.words import one_line, shortened

SHOWN = 80
"""Characters of a value that a message shows."""
MAX_BYTES = 2**30
"""Bytes of the largest result file that is read."""
MAX_ITEMS = 10**12
"""More items than any harness has: a larger number is something else."""


@dataclass(frozen=True, kw_only=True)
class LoggedItem:
    """One test item as the harness has logged it."""

    id: str
    """Its number or name in the harness."""
    prompt: str
    """What was asked; empty: not logged as text."""
    prediction: str
    """What the model answered."""
    answer: str
    """The right answer, as text."""
    score: float
    """Its score, 0..1; NaN: unknown."""

    @property
    def digest(self) -> str:
        """Sixteen hex digits of what was asked and of the right answer."""
        return xxhash.xxh3_64_hexdigest(json.dumps([self.id, self.prompt, self.answer]).encode())


@dataclass(frozen=True, kw_only=True)
class HarnessResult:
    """What a harness has found out about one skill."""

    score: float
    """0..1."""
    standard_error: float
    """Of the score, on the same scale; NaN: the harness gives none."""
    num_items: int
    """Items that it counted; 0: unknown."""
    metric: str
    """What the score means: reader, task and metric, or key."""
    version: str
    """Versions of the harness and of its task, as far as its files say; empty: they do not."""
    items: tuple[LoggedItem, ...] = ()
    """Its items, where it has logged all of them; else none."""
    notes: tuple[str, ...] = ()
    """What could not be used of its files, a sentence each."""
    files: tuple[Path, ...] = field(default=(), compare=False)
    """The files that were read."""

    def digest(self, test: HarnessTest) -> str:
        """Return sixteen hex digits of all that decides what was asked: command, metric, versions, items."""
        value = [list(test.command.words), self.metric, test.scale, self.version, self.num_items, self.items_digest]
        return xxhash.xxh3_64_hexdigest(json.dumps(value).encode())

    @property
    def items_digest(self) -> str | None:
        """Sixteen hex digits of the logged items, in any order; None: none are logged."""
        if not self.items:
            return None
        return xxhash.xxh3_64_hexdigest("".join(sorted(item.digest for item in self.items)).encode())


def score_of(value: object, test: HarnessTest, place: str) -> float:
    """Return a score as a share of the largest one.

    Raises:
        DataError: it is no finite number within 0 and the scale of the test.
    """
    number = number_in(value)
    where = f"evaluation of {test.skill}: {place}"
    if number is None:
        raise DataError(f"{where} is {shortened(repr(value), SHOWN)}, which is no finite number; repair the harness")
    if not 0 <= number <= test.scale:
        way_out = "set scale: to the largest value that it can have, such as 100 for percent, 2000 for points"
        if number < 0:
            way_out = "name a score that is never negative"
        raise DataError(f"{where} is {number:g}, outside of 0 to {test.scale:g}; {way_out}")
    return number / test.scale


def number_in(value: object) -> float | None:
    """Return a finite number; None for anything else: text, true or false, NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def count_of(value: object, test: HarnessTest, place: str) -> int:
    """Return a number of items.

    Raises:
        DataError: it is no whole number above 0, or more than MAX_ITEMS.
    """
    number = number_in(value)
    if number is None or not 0 < number <= MAX_ITEMS or number != int(number):
        shown = shortened(repr(value), SHOWN)
        raise DataError(f"evaluation of {test.skill}: {place} is {shown}, which is no number of items")
    return int(number)


def json_files(output: Path, test: HarnessTest, pattern: str) -> dict[Path, Any]:
    """Return path -> value of the JSON files below a folder whose name fits (Any: whatever JSON holds).

    Raises:
        DataError: one of them is no JSON.
    """
    found = {}
    for path in sorted(path for path in output.rglob(pattern) if path.is_file()):
        where = f"evaluation of {test.skill}: {path}"
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{where} has {path.stat().st_size:,} bytes; a result file has {MAX_BYTES:,} at most")
        try:
            found[path] = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is no JSON ({shortened(one_line(error), SHOWN)}); repair the harness") from error
    return found


def json_lines(path: Path) -> Iterator[Any]:
    """Yield the value of each line of a file; ValueError where one is no JSON."""
    with open(path, encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def with_scores(items: Sequence[LoggedItem], score: float) -> tuple[LoggedItem, ...]:
    """Return the items with their scores if these have the skill's score as their mean; else their scores are unknown.

    A skill's score may be something else than a mean, such as an F1 over all items or a sum over groups: comparing item
    by item would then compare another thing.
    """
    mean = float(np.mean([item.score for item in items])) if items else math.nan
    if abs(mean - score) <= MEAN_TOLERANCE:
        return tuple(items)
    return tuple(
        LoggedItem(id=item.id, prompt=item.prompt, prediction=item.prediction, answer=item.answer, score=math.nan)
        for item in items
    )


MEAN_TOLERANCE = 1e-4
"""Largest difference of a mean that a harness rounds."""
