"""What `validate` noticed about a dataset as one table: finding, rows, an example, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from adaptinf.data import Rejected, Sample
from adaptinf.formats.unread_images import NAME_IMAGES, may_be_image
from adaptinf.scoring.columns import PREFIX, NumericColumn
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


@dataclass(frozen=True, kw_only=True)
class _Example:
    """One row that has a finding."""

    text: str
    """What is shown, after the id of the sample if there is one."""
    sample: int | None = None
    """Number of the sample; None: it is no sample."""
    rejected: int | None = None
    """Number among the rejected rows; None: it is no rejected row."""
    rank: tuple[int, float] = (0, 0)
    """Order among the findings of one row."""

    @property
    def place(self) -> tuple[int, tuple[int, float]]:
        """Order among the first rows of all findings."""
        number = self.sample if self.rejected is None else self.rejected
        return number or 0, self.rank


@dataclass
class _Group:
    rows: int
    example: _Example
    advice: str


@dataclass
class Noticed:
    """Everything that is noticed while a dataset is read, grouped by kind."""

    groups: dict[str, _Group] = field(default_factory=dict)
    """Finding -> rows, first example, advice."""

    def add(self, finding: str, example: str, advice: str) -> None:
        """Count one row, whose example is known."""
        self._add(finding, _Example(text=example, rank=(0, len(self.groups))), advice)

    def _add(self, finding: str, example: _Example, advice: str, rows: int = 1) -> None:
        known = self.groups.get(finding)
        if known is None:
            self.groups[finding] = _Group(rows, example, advice)
            return
        known.rows += rows
        if example.place < known.example.place:
            known.example, known.advice = example, advice

    def add_rejected(self, row: Rejected, number: int) -> None:
        """Count a row that becomes no sample, the rejected row of this number; `merge` says where it is."""
        advice = "correct the file: nothing after this row is read" if row.ends_file else _advice(row.reason)
        self._add(f"rejected: {kind_of(row.reason)}", _Example(text="", rejected=number), advice)

    def add_sample(self, sample: Sample, number: int) -> None:
        """Count what is remarkable about the sample of this number."""
        for index, note in enumerate(sample.notes):
            self.add_note(note, number, index)
        for index, (finding, advice) in enumerate(_remarks(sample)):
            self._add(finding, _Example(text="", sample=number, rank=(1, index)), advice)

    def add_note(self, note: str, number: int, index: float) -> None:
        """Count what the reader did about the sample of this number; `index` is the place among its notes."""
        example = _Example(text="", sample=number, rank=(0, index))
        self._add(f"repaired: {kind_of(note)}", example, "check one of them with adaptinf inspect")

    def add_test_problem(self, problem: str, metric: str, number: int) -> None:
        """Count a sample that is no test item under a metric."""
        example = _Example(text=f": {problem}", sample=number, rank=(2, 0))
        self._add(f"no test item: {kind_of(problem)}", example, f"correct the right answer, for the metric {metric}")

    def merge(self, later: Noticed, num_samples: int, num_rejected: int, rejected: Sequence[Rejected]) -> None:
        """Count what was noticed of later rows.

        Args:
            later: what was noticed; numbers of samples and of rejected rows count from the first of these rows.
            num_samples: samples before these rows.
            num_rejected: rejected rows before them.
            rejected: the rejected ones of these rows, with their settled numbers.
        """
        for finding, group in later.groups.items():
            example = group.example
            if example.rejected is not None:
                text, number = _place(rejected[example.rejected]), example.rejected + num_rejected
                example = replace(example, text=text, rejected=number)
            elif example.sample is not None:
                example = replace(example, sample=example.sample + num_samples)
            self._add(finding, example, group.advice, group.rows)

    def table(self, ids_of: Callable[[Sequence[int]], list[str]] = lambda samples: []) -> tuple[Finding, ...]:
        """Return one row per finding, rejected rows first, then by number of rows; else the first row decides.

        `ids_of` returns the ids of samples, whose numbers ascend.
        """
        samples = sorted({one.example.sample for one in self.groups.values() if one.example.sample is not None})
        ids = dict(zip(samples, ids_of(samples), strict=True)) if samples else {}
        ordered = sorted(self.groups.items(), key=lambda group: group[1].example.place)
        found = [Finding(name, group.rows, _shown(group.example, ids), group.advice) for name, group in ordered]
        return tuple(sorted(found, key=lambda one: (not one.finding.startswith("rejected"), -one.rows)))


def _place(row: Rejected) -> str:
    """Return where a rejected row is, and its reason where the kind does not say it."""
    place = f"{shortened(Path(row.file).name, SHOWN_CHARACTERS)} row {row.row}"
    return place if kind_of(row.reason) == row.reason else f"{place}: {shortened(row.reason, SHOWN_REASON)}"


def _shown(example: _Example, ids: Mapping[int, str]) -> str:
    id = "" if example.sample is None else shortened(ids[example.sample], SHOWN_CHARACTERS)
    return shortened(f"{id}{example.text}", SHOWN_REASON + SHOWN_CHARACTERS)


def kind_of(reason: str) -> str:
    """Return a reason without the values of one row, so that equal reasons of several rows are equal."""
    return shortened(_NUMBER.sub("N", _QUOTED.sub("...", reason)), SHOWN_CHARACTERS)


def _advice(reason: str) -> str:
    if reason.endswith("is missing") or " is missing in all of " in reason:
        return "check the path and the image folder"
    if " is outside of the image folder" in reason:
        return "name its folder as well: --images may be repeated, images: may be a list"
    return "correct the row, or leave it out"


def _remarks(sample: Sample) -> Iterator[tuple[str, str]]:
    """Yield (finding, advice) for everything that is remarkable about one sample."""
    if sample.unlearnt:
        yield "turns with weight: 0, loss: false or train: false", "none if it is meant: these turns are not learnt"
    if sample.tools:
        yield "tools", "check with --model that the chat template takes them"
    for scaling in sample.scalings:
        yield f"images of more than 8 bits: {scaling}", "none if black and white are right in adaptinf inspect --html"
    for key in sample.unread:
        if may_be_image(sample.meta.get(key)):
            yield f"unused key that names images: {shortened(key, SHOWN_CHARACTERS)}", NAME_IMAGES
        else:
            yield _unused(key), "none if it is not needed: nothing reads it"


def _unused(key: str) -> str:
    return f"unused key: {shortened(key, SHOWN_CHARACTERS)}"


def with_uses(findings: Sequence[Finding], columns: Sequence[NumericColumn]) -> list[Finding]:
    """Return findings that say of unused keys with numbers that they may be scores."""
    uses = {
        _unused(column.name): "none if it is not needed; as a score: "
        f"selection.scorers: [{PREFIX}{shortened(column.name, SHOWN_CHARACTERS)}]"
        for column in columns
    }
    return [one._replace(advice=uses.get(one.finding, one.advice)) for one in findings]


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
