"""Answers that an evaluation has generated so far, on disk: after an interrupt none of them is generated again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adaptinf import __version__
from adaptinf.storage import store, tables

ANSWERS_FILE = "answers.jsonl"
"""In the unfinished folder of an evaluation: what the answers depend on, then one answer a line."""


class KeptAnswer(NamedTuple):
    """What a model answered to one item."""

    row: int
    """Number of the item."""
    text: str | None
    """Its answer; None: the item cannot be asked."""
    reason: str
    """Why it cannot be asked."""


@dataclass(frozen=True)
class KeptAnswers:
    """The file of the answers."""

    path: Path
    """Where it lies."""
    key: str
    """Stands for everything that the answers depend on; a file with another key is begun again."""

    def read(self) -> dict[int, KeptAnswer]:
        """Return the answers by the number of their item; none, and a new file, where the key is another."""
        lines = store.read_lines(self.path)
        if not lines or lines[0].get("key") != self.key:
            self.path.write_text(json.dumps({"key": self.key}) + "\n", encoding="utf-8")
            return {}
        found = [line for line in lines[1:] if {"row", "text", "reason"} <= line.keys()]
        return {line["row"]: KeptAnswer(line["row"], line["text"], line["reason"]) for line in found}

    def add(self, answers: Iterable[tuple[int, str | None, str]]) -> None:
        """Append answers: row, text, reason."""
        for row, text, reason in answers:
            store.append_line(self.path, {"row": row, "text": text, "reason": reason})


def answers_key(model: str, items: Sequence[str], batches: Sequence[Sequence[int]]) -> str:
    """Return a hash of the model, the items and the batches, as the last bits depend on these.

    Args:
        model: all that distinguishes it, as text.
        items: the digest of each.
        batches: numbers of the items that are answered together.
    """
    return tables.digest(
        tables.text_array([__version__, model, *items, json.dumps([list(batch) for batch in batches])])
    )
