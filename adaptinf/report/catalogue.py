"""Every sample that ever arrived, pruned or not: a report looks back, where the pool only knows who is alive.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adaptinf import tables
from adaptinf.data import Sample
from adaptinf.pool import StoredDataset, stored_datasets
from adaptinf.runs import Run

UNKNOWN = "unknown"
"""Stands for what the data do not say: the true skill of a sample without one."""
TEXT_LENGTH = 160
"""Characters of a question or an answer on the page; the rest is left to the data themselves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """Where each id came from; texts and pictures stay on disk."""

    ids: np.ndarray
    """N ids, ascending."""
    sources: np.ndarray
    """N dataset names."""
    arrived: np.ndarray
    """N int64: number of the step that each came with."""
    skills: np.ndarray
    """N true skills; `unknown` where the data name none."""
    places: np.ndarray
    """N x 2 int64: position in `datasets` and row in it."""
    datasets: tuple[StoredDataset, ...]
    """Every dataset that arrived, in order."""

    @classmethod
    def of(cls, run: Run) -> Catalogue:
        """Return the catalogue of a run's pool folder."""
        datasets = stored_datasets(run.pool_folder)
        counts = [item.table.num_rows for item in datasets]
        ids = tables.text_array(_joined(item.table["id"] for item in datasets))
        skills = tables.text_array(_joined(item.skills for item in datasets))
        order = np.argsort(ids, kind="stable")
        rows = np.concatenate([np.arange(count) for count in [0, *counts]]).astype(np.int64)
        numbers = np.repeat(np.arange(len(datasets)), counts).astype(np.int64)
        return cls(
            ids=ids[order],
            sources=tables.text_array([datasets[number].name for number in numbers[order]]),
            arrived=np.array([datasets[number].index for number in numbers[order]], dtype=np.int64),
            skills=np.where(skills == "", UNKNOWN, skills)[order].astype(object),
            places=np.stack([numbers, rows], axis=1)[order],
            datasets=tuple(datasets),
        )

    @property
    def has_skills(self) -> bool:
        """Whether the data name the true skill of any sample."""
        return bool((self.skills != UNKNOWN).any())

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64; -1 for an id of a dataset that is not in the pool folder any more."""
        if not len(self.ids):
            return np.full(len(ids), -1, np.int64)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, places, -1).astype(np.int64)

    def look_up(self, column: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return one of this catalogue's text columns for some ids; `unknown` for an id that it does not have."""
        rows = self.rows(ids)
        known = column[rows] if len(column) else np.full(len(ids), UNKNOWN, object)
        return np.where(rows < 0, UNKNOWN, known).astype(object)

    def sample(self, id: str) -> Sample | None:
        """Return one sample; None when its dataset is not in the pool folder any more."""
        row = int(self.rows(np.array([id], dtype=object))[0])
        if row < 0:
            return None
        number, place = map(int, self.places[row])
        return self.datasets[number].sample(place)


def _joined(columns: Iterable[pa.ChunkedArray]) -> list[str]:
    return [value for column in columns for value in column.to_pylist()]


def question_and_answer(sample: Sample) -> tuple[str, str]:
    """Return the first question and the first answer of a conversation, shortened, with the number of further turns."""
    texts = {"user": "", "assistant": ""}
    turns = 0
    for message in sample.messages:
        role = message["role"]
        said = " ".join(block["text"] or "" for block in message["content"] if block["type"] == "text").strip()
        turns += role == "assistant"
        if role in texts and not texts[role]:
            texts[role] = said
    more = f" (and {turns - 1} more {'turn' if turns == 2 else 'turns'})" if turns > 1 else ""
    return shortened(texts["user"]), shortened(texts["assistant"]) + more


def shortened(text: str) -> str:
    """Return a text of at most TEXT_LENGTH characters."""
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1].rstrip() + "…"
