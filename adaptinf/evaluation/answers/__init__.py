"""Answer metrics: one per file, each a function with one decorator that gives a prediction a score in 0..1."""

from __future__ import annotations

from adaptinf.evaluation.answers.item import IMAGE_SIZE, QUESTION, Item
from adaptinf.evaluation.answers.judge import refined
from adaptinf.evaluation.answers.scoring import Scores, answer_problem, remarks_on, score, scores_of
from adaptinf.evaluation.answers.texts import normalised, words_of

__all__ = [
    "IMAGE_SIZE",
    "QUESTION",
    "Item",
    "Scores",
    "answer_problem",
    "normalised",
    "refined",
    "remarks_on",
    "score",
    "scores_of",
    "words_of",
]
