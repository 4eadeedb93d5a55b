"""What `validate` noticed about a dataset as one table: finding, rows, an example, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from adaptinf.data import Rejected, Sample
from adaptinf.words import counted, shortened

if TYPE_CHECKING:
    from adaptinf.models.checks import Survey

SHOWN_CHARACTERS = 80
"""Characters of a value, and of an id, that are shown."""
SHOWN_REASON = 200
"""Characters of the reason of an example."""

# What differs between two rows that are rejected for the same reason: quoted values, numbers.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'(?:\.\.\.)?|\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?")
_NUMBER = re.compile(r"(?<!\w)\d[\d,.]*(?<![,.])")


class Finding(NamedTuple):
    """One kind of thing that was noticed."""

    finding: str
    """What it is."""
    rows: int
    """Rows that have it."""
    example: str
    """One of them."""
    advice: str
    """What to do."""


@dataclass
class _Group:
    rows: int
    example: str
    advice: str


@dataclass
class Noticed:
    """Everything that is noticed while a dataset is read, grouped by kind."""

    groups: dict[str, _Group] = field(default_factory=dict)
    """Finding -> rows, first example, advice; in the order of their first rows."""

    def add(self, finding: str, example: str, advice: str) -> None:
        """Count one row."""
        if finding in self.groups:
            self.groups[finding].rows += 1
        else:
            self.groups[finding] = _Group(1, shortened(example, SHOWN_REASON + SHOWN_CHARACTERS), advice)

    def add_rejected(self, row: Rejected) -> None:
        """Count a row that becomes no sample."""
        place = f"{shortened(Path(row.file).name, SHOWN_CHARACTERS)} row {row.row}"
        advice = "correct the file: nothing after this row is read" if row.ends_file else _advice(row.reason)
        kind = kind_of(row.reason)
        example = place if kind == row.reason else f"{place}: {shortened(row.reason, SHOWN_REASON)}"
        self.add(f"rejected: {kind}", example, advice)

    def add_sample(self, sample: Sample) -> None:
        """Count what is remarkable about a sample."""
        for finding, advice in _remarks(sample):
            self.add(finding, shortened(sample.id, SHOWN_CHARACTERS), advice)

    def table(self) -> tuple[Finding, ...]:
        """Return one row per finding, rejected rows first, then by number of rows."""
        found = [Finding(name, group.rows, group.example, group.advice) for name, group in self.groups.items()]
        return tuple(sorted(found, key=lambda one: (not one.finding.startswith("rejected"), -one.rows)))


def kind_of(reason: str) -> str:
    """Return a reason without the values of one row, so that equal reasons of several rows are equal."""
    return shortened(_NUMBER.sub("N", _QUOTED.sub("...", reason)), SHOWN_CHARACTERS)


def _advice(reason: str) -> str:
    if reason.endswith("is missing"):
        return "check the path and the image folder"
    return "correct the row, or leave it out"


def _remarks(sample: Sample) -> Iterator[tuple[str, str]]:
    """Yield (finding, advice) for everything that is remarkable about one sample."""
    for note in sample.notes:
        yield f"repaired: {kind_of(note)}", "check one of them with adaptinf inspect"
    if sample.unlearnt:
        yield "turns with weight: 0, loss: false or train: false", "none if it is meant: these turns are not learnt"
    if sample.tools:
        yield "tools", "check with --model that the chat template takes them"
    for scaling in sample.scalings:
        yield f"images of more than 8 bits: {scaling}", "none if black and white are right in adaptinf inspect --html"
    for key in sample.unread:
        yield f"unused key: {shortened(key, SHOWN_CHARACTERS)}", "none if it is not needed: nothing reads it"


def surveyed(survey: Survey, max_length: int) -> Iterator[Finding]:
    """Yield what a model cannot use of a dataset, or learns differently than it is written."""
    refused = Noticed()
    for id, reason in survey.refused.items():
        example = f"{shortened(id, SHOWN_CHARACTERS)}: {shortened(reason, SHOWN_REASON)}"
        refused.add(f"rejected by the model: {kind_of(reason)}", example, "correct the row, or use another model")
    yield from refused.table()
    fitting = f"model.max_length: {survey.fitting_length} loses none; it is {max_length}"
    for finding, ids, advice in (
        ("no answer left within max_length: not learnt", survey.without_answer, fitting),
        ("answers cut by max_length", survey.shortened, fitting),
        ("turns of one role merged", survey.merged, "none: the chat template refuses two in a row"),
        ("no end token after the answer", survey.without_end, "the model will not learn to stop: check the template"),
    ):
        if ids:
            yield Finding(finding, len(ids), shortened(ids[0], SHOWN_CHARACTERS), advice)
    if survey.has_many_unknown:
        tokens = f"{survey.unknown_share:.1%} of {counted(survey.answer_tokens, 'answer token')}"
        yield Finding(
            f"unknown tokens in answers: {tokens}",
            len(survey.with_unknown),
            shortened(survey.with_unknown[0], SHOWN_CHARACTERS),
            "use a tokenizer that has this script",
        )
