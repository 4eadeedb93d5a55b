"""The composition of selection and pool: by source, by step of arrival, by true skill if the data name it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from adaptinf.data import Selection
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs

KINDS = ("source", "arrived in step", "true skill")
"""The ways in which samples are counted."""


def composition_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return, for each step, way of counting and name, how many samples were in the pool and how many were selected."""
    return figure_of_runs("composition", [(fact.label, _rows(fact)) for fact in facts])


def _rows(fact: RunFacts) -> list[FigureRow] | str:
    steps = fact.steps_with(Selection)
    if not steps:
        return "No step of this run has finished its selection yet."
    kinds = [kind for kind in KINDS if kind != "true skill" or fact.catalogue.has_skills]
    return [row for step in steps for kind in kinds for row in _rows_of(fact, step, kind)]


def _rows_of(fact: RunFacts, step: int, kind: str) -> list[FigureRow]:
    pool = _counted(fact, fact.run.pool(step).ids, kind)
    chosen = _counted(fact, fact.load(step, Selection).ids, kind)
    return [
        {
            "step": step + 1,
            "by": kind,
            "name": name,
            # A dataset that was withdrawn later is no longer in the pool, but was when the step selected.
            "pool": max(pool[name], chosen[name]),
            "chosen": chosen[name],
        }
        for name in sorted({*pool, *chosen}, key=lambda name: (-pool[name], name))
    ]


def _counted(fact: RunFacts, ids: np.ndarray, kind: str) -> Counter[str]:
    catalogue = fact.catalogue
    if kind == "true skill":
        return Counter(catalogue.look_up(catalogue.skills, ids))
    if kind == "source":
        return Counter(catalogue.look_up(catalogue.sources, ids))
    names = np.array([f"{step + 1}" for step in catalogue.arrived], dtype=object)
    return Counter(catalogue.look_up(names, ids))
