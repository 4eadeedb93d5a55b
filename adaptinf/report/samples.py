"""Samples on the page: what happened to each in a step, its text, its images.

Shapes: N samples of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adaptinf.data import Clusters, Features, Sample, SavedPruning, Selection
from adaptinf.pool.catalogue import UNKNOWN
from adaptinf.report.facts import RunFacts
from adaptinf.report.thumbnails import Album
from adaptinf.storage.tables import text_array

CHOSEN, LEFT_OUT, PRUNED, CHOSEN_THEN_PRUNED = "chosen", "left out", "pruned", "chosen, then pruned"
"""What happened to a sample in a step."""
TEXT_LENGTH = 160
"""Characters of a question or an answer that the page shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepSamples:
    """The clustered samples of the newest step of one run that has finished its selection."""

    fact: RunFacts
    """The run."""
    step: int
    """The step, from 0."""

    @classmethod
    def newest(cls, fact: RunFacts) -> StepSamples | None:
        """Return the samples of the newest step with clusters and a selection; None if there is none."""
        steps = fact.steps_with(Features, Clusters, Selection)
        return cls(fact=fact, step=steps[-1]) if steps else None

    @cached_property
    def clusters(self) -> Clusters:
        """Labels and distances of the N samples, in id order."""
        return self.fact.load(self.step, Clusters)

    @cached_property
    def fates(self) -> np.ndarray:
        """What happened to each of the N samples."""
        is_chosen = _is_among(self.clusters.ids, self.fact.load(self.step, Selection).ids)
        has_pruned = self.step in self.fact.steps_with(SavedPruning)
        pruned = self.fact.load(self.step, SavedPruning).table["id"] if has_pruned else text_array([])
        is_pruned = _is_among(self.clusters.ids, pruned)
        names = np.array([[LEFT_OUT, PRUNED], [CHOSEN, CHOSEN_THEN_PRUNED]], dtype=object)
        found: np.ndarray = names[is_chosen.astype(int), is_pruned.astype(int)]
        return found

    @cached_property
    def scorer_of(self) -> dict[str, tuple[str, float]]:
        """Selected id -> (scorer that decided, score)."""
        table = self.fact.load(self.step, Selection).table
        return dict(zip(table["id"], zip(table["scorer"], table["score"].tolist(), strict=True), strict=True))


def _is_among(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return whether each id is wanted; `np.isin` compares texts pair by pair, which takes hours for a million."""
    those = set(wanted)
    return np.fromiter((id in those for id in ids), bool, len(ids))


def words_of(fact: RunFacts, id: str, album: Album) -> dict[str, Any]:
    """Return the fields of a sample's card: id, source, true skill, question, answer, numbers of its images."""
    sample = fact.catalogue.sample(id)
    question, answer = question_and_answer(sample) if sample else ("(its dataset is no longer in the pool)", "")
    ids = np.array([id], dtype=object)
    skill = str(fact.catalogue.look_up(fact.catalogue.skills, ids)[0])
    return {
        "id": id,
        "source": str(fact.catalogue.look_up(fact.catalogue.sources, ids)[0]),
        "skill": "" if skill == UNKNOWN else skill,
        "question": question,
        "answer": answer,
        "images": " ".join(map(str, album.add(sample.stored_images if sample else ()))),
        "num_images": len(sample.images) if sample else 0,
    }


def detailed(facts: Sequence[RunFacts], limit: int) -> list[RunFacts]:
    """Return the runs whose single samples are shown: the first of each group, at most `limit`."""
    first_of = {fact.group: fact for fact in reversed(facts)}
    ordered = [fact for fact in facts if first_of[fact.group] is fact]
    # Runs without clusters have no samples to show, so they do not count for the limit.
    with_samples = [fact for fact in ordered if fact.steps_with(Features, Clusters, Selection)][:limit]
    return [fact for fact in ordered if fact in with_samples or not fact.steps_with(Features, Clusters)]


def question_and_answer(sample: Sample) -> tuple[str, str]:
    """Return the first question and answer of a conversation, shortened, with the number of further turns."""
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
