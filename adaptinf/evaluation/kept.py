"""Answers that an evaluation has generated so far, on disk: after an interrupt none of them is generated again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adaptinf import __version__
from adaptinf.storage import store, tables

ANSWERS_FILE = "answers.jsonl"
"""In the unfinished folder of an evaluation: what the answers depend on, then one answer a line."""


class Answer(NamedTuple):
    """What a model answers to one item."""

    row: int
    """Number of the item."""
    text: str | None
    """Its answer; None: the item cannot be asked."""
    reason: str = ""
    """Why it cannot be asked."""
    prompt: str = ""
    """The text that the model was asked, each image as the one tag that its template writes."""
    stop: str = ""
    """Why the answer ended, as the predictions have it."""


@dataclass(frozen=True)
class KeptAnswers:
    """The file of the answers."""

    path: Path
    """Where it lies."""
    key: str
    """Stands for everything that the answers depend on; a file with another key is begun again."""

    def read(self) -> dict[int, Answer]:
        """Return the answers by the number of their item; none, and a new file, where the key is another."""
        lines = store.read_lines(self.path)
        if not lines or lines[0].get("key") != self.key:
            self.path.write_text(json.dumps({"key": self.key}) + "\n", encoding="utf-8")
            return {}
        names = set(Answer._fields)
        found = (Answer(**{name: line[name] for name in names}) for line in lines[1:] if names <= line.keys())
        return {answer.row: answer for answer in found}


def keep_answer(path: Path, answer: Answer) -> None:
    """Append one answer to the file, from any worker: what another one damages meanwhile is generated again."""
    store.append_line(path, answer._asdict())


def answers_key(model: str, items: Sequence[str], units: Sequence[Sequence[int]]) -> str:
    """Return a hash of the model, the items and the units of work, as the last bits depend on these.

    Args:
        model: all that distinguishes it, and how it is made to answer, as text.
        items: the digest of each.
        units: numbers of the items that are answered together.
    """
    return tables.digest(tables.text_array([__version__, model, *items, json.dumps([list(unit) for unit in units])]))
