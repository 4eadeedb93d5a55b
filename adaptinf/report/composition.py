"""The composition of selection and pool: by source, by step of arrival, by true skill if the data name it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from adaptinf.data import Selection
from adaptinf.pool.catalogue import UNKNOWN
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure, FigureRow, figure_of_runs

ARRIVED, SKILL = "arrived in step", "true skill"
KINDS = ("source", ARRIVED, SKILL)
"""The ways in which samples are counted."""


def composition_figure(facts: Sequence[RunFacts]) -> Figure:
    """Return, for each step, way of counting and name, how many samples were in the pool and how many were selected."""
    return figure_of_runs("composition", [(fact.label, _rows(fact)) for fact in facts])


def _rows(fact: RunFacts) -> list[FigureRow] | str:
    steps = fact.steps_with(Selection)
    if not steps:
        return "No step of this run has finished its selection yet."
    return [row for step in steps for row in _rows_of(fact, step)]


def _rows_of(fact: RunFacts, step: int) -> Iterator[FigureRow]:
    pool, catalogue = fact.run.pool(step), fact.catalogue
    rows = catalogue.rows(fact.load(step, Selection).ids)
    in_pool = (pool.sources, pool.arrived, pool.skills)
    everywhere = (catalogue.sources, catalogue.arrived, catalogue.skills)
    for kind, of_pool, of_all in zip(KINDS, in_pool, everywhere, strict=True):
        if kind != SKILL or catalogue.has_skills:
            chosen = _counted(of_all[rows[rows >= 0]], kind)
            chosen[UNKNOWN] += int((rows < 0).sum())
            yield from _counts(step, kind, _counted(of_pool, kind), +chosen)


def _counts(step: int, kind: str, pool: Counter[str], chosen: Counter[str]) -> Iterator[FigureRow]:
    for name in sorted({*pool, *chosen}, key=lambda name: (-pool[name], name)):
        yield {
            "step": step + 1,
            "by": kind,
            "name": name,
            # A dataset that was withdrawn later is no longer in the pool, but was when the step selected.
            "pool": max(pool[name], chosen[name]),
            "chosen": chosen[name],
        }


def _counted(values: np.ndarray, kind: str) -> Counter[str]:
    """Return the number of samples per name."""
    if kind == ARRIVED:
        steps, counts = np.unique(values, return_counts=True)
        return Counter({f"{step + 1}": count for step, count in zip(steps.tolist(), counts.tolist(), strict=True)})
    return Counter({name or UNKNOWN: count for name, count in Counter(values.tolist()).items()})
