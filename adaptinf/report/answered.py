"""Answers to test items after the newest test: prompt, prediction, allowed answers, both scores, reason to stop."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs
from adaptinf.report.skills import NO_SKILLS
from adaptinf.storage.tables import Columns

IN_ANOTHER_FORM, NOTHING, PART, FULL = "in another form", "nothing", "part of the score", "full score"
UNSCORED = "unscored"
"""What became of an answer: right but not in the form that the metric asks for; else by its strict score. UNSCORED: a
harness has logged it without a score of its own."""
KINDS = (IN_ANOTHER_FORM, NOTHING, PART, FULL, UNSCORED)
MAX_OF_KIND = 4
"""Answers of one kind and skill that the page shows."""
MAX_SHOWN = 400
"""Answers of one run that the page shows; with many skills, each has fewer."""
TEXT_LENGTH = 300
"""Characters of a prompt, a prediction or the allowed answers that the page shows."""
NO_ITEMS = "A harness tests the skills of this run and logged no single answers."


def answers_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return some answers of every kind and skill of each run, the first by their ids."""
    return figure_of_runs("answers", [(fact.label, _rows(fact.evaluation)) for fact in facts])


def _rows(evaluation: Evaluation | None) -> list[FigureRow] | str:
    if evaluation is None:
        return NO_SKILLS
    table = evaluation.predictions
    if not len(table["id"]):
        return NO_ITEMS
    limit = max(1, min(MAX_OF_KIND, MAX_SHOWN // (len(KINDS) * len(evaluation.skills))))
    kinds = _kinds(table)
    found: list[FigureRow] = []
    for skill in evaluation.skills:
        own = np.flatnonzero(table["skill"] == skill)
        own = own[np.argsort(table["id"][own], kind="stable")]
        for kind in KINDS:
            found += [{"kind": kind, **_row(table, int(row))} for row in own[kinds[own] == kind][:limit]]
    return found


def _kinds(table: Columns) -> np.ndarray:
    """Return what became of each answer."""
    score, tolerant = table["score"], table["tolerant"]
    by_score = np.where(score >= 1, FULL, np.where(score > 0, PART, np.where(np.isnan(score), UNSCORED, NOTHING)))
    # A comparison with an unknown score is false: such an answer counts by its strict score alone.
    found: np.ndarray = np.where(tolerant > score, IN_ANOTHER_FORM, by_score)
    return found


def _row(table: Columns, row: int) -> FigureRow:
    return {
        "skill": table["skill"][row],
        "id": table["id"][row],
        "prompt": _shortened(table["prompt"][row]),
        "prediction": _shortened(table["prediction"][row]),
        "answers": _shortened(allowed_text(table["answers"][row])),
        "strict": float(table["score"][row]),
        "tolerant": float(table["tolerant"][row]),
        "stop": table["stop"][row],
    }


def allowed_text(answers: str) -> str:
    """Return the allowed answers as one text, from the JSON list of the table."""
    return " | ".join(map(str, json.loads(answers)))


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1].rstrip() + "…"
