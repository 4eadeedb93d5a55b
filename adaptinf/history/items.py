"""adaptinf explain --test: one test item, as the base model and the model after every step answered it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError
from adaptinf.pool.lookup import SUGGESTED, did_you_mean
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.tested import metrics_of
from adaptinf.storage.display import as_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ItemAnswer:
    """One answer to the item."""

    step: int
    """The step after which the model was asked; -1: the base model."""
    prompt: str
    """What it was asked; empty: not recorded, by an earlier version."""
    prediction: str
    """What it answered."""
    allowed: tuple[str, ...]
    """The allowed answers."""
    strict: float
    """Strict score, 0 to 1; NaN: none."""
    tolerant: float
    """The same whatever the format of the prediction; NaN: not known."""
    stop: str
    """`end`: the model ended its answer; `length`: it was cut off at `max_new_tokens`; empty: not recorded."""
    rejected: bool
    """Whether the gate has taken the model that answered back, so that its answers count nowhere."""
    changed: bool
    """Whether the item is known to be another one than in the test before: other prompt, answers, images or metric."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ItemHistory:
    """All answers to one test item. In a notebook it shows as HTML, one row per step."""

    id: str
    """Its id."""
    skill: str
    """Its skill."""
    metric: str
    """What its score means; empty: unknown."""
    answers: tuple[ItemAnswer, ...]
    """One per test, the base model's first."""

    def __repr__(self) -> str:
        return f"ItemHistory({self.id!r} of {self.skill}: {len(self.answers)} answers)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per answer, indexed by its step; columns are the other fields of `ItemAnswer`."""
        names = [name for name in ItemAnswer.__dataclass_fields__ if name != "step"]
        columns = {name: [getattr(answer, name) for answer in self.answers] for name in names}
        return as_frame(columns, index=[answer.step for answer in self.answers], index_name="step")

    def _repr_html_(self) -> str:
        """Return the answers as notebooks show them."""
        return f"<p>{escape(repr(self))}</p>{self.to_pandas().to_html()}"


def item_history(run: Run, id: str) -> ItemHistory:
    """Return every answer to a test item.

    Raises:
        ConfigError: nothing is tested, or no test has an item of this id; the message names similar ids.
        StoreError: an evaluation of the run is damaged.
    """
    answers, skill, metric = [], "", ""
    before, known = "", set[str]()
    for step, evaluation in _evaluations(run):
        table = evaluation.predictions
        known |= set(table["id"].tolist())
        for row in np.flatnonzero(table["id"] == id):
            item, skill = str(table["item"][row]), str(table["skill"][row])
            metric = metrics_of(evaluation, run.config)[evaluation.skills.index(skill)]
            answers.append(_answer(evaluation, int(row), step, changed=bool(before and item) and item != before))
            before = item
    if not answers:
        hint = did_you_mean(difflib.get_close_matches(id, sorted(known), n=SUGGESTED))
        raise ConfigError(f"{run.folder} has no answer to a test item {id!r}{hint or '; ids are SKILL/ID'}")
    return ItemHistory(id=id, skill=skill, metric=metric, answers=tuple(answers))


def _evaluations(run: Run) -> Iterator[tuple[int, Evaluation]]:
    """Yield step and evaluation of every test of a run."""
    for step in range(BASE_STEP, len(run.config.stream)):
        evaluation = run.load(step, Evaluation)
        if evaluation is not None:
            yield step, evaluation


def _answer(evaluation: Evaluation, row: int, step: int, *, changed: bool) -> ItemAnswer:
    table = evaluation.predictions
    return ItemAnswer(
        step=step,
        prompt=str(table["prompt"][row]),
        prediction=str(table["prediction"][row]),
        allowed=tuple(map(str, json.loads(table["answers"][row]))),
        strict=float(table["score"][row]),
        tolerant=float(table["tolerant"][row]),
        stop=str(table["stop"][row]),
        rejected=evaluation.gate is not None and evaluation.gate.is_rejected,
        changed=changed,
    )
