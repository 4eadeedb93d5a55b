"""Records of runs with known numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adaptinf.results.items import ItemScores
from adaptinf.results.records import RunRecord, StepRecord
from tests.helpers.run_folders import BUDGET, NUM_ITEMS

MATRIX = [[0.0, 0.2], [0.5, 0.4], [0.6, 0.5]]


def items_of(row: Sequence[float], *, num_items: int = NUM_ITEMS, shift: int = 0, ids: str = "ids") -> dict[str, Any]:
    """Return the items of each skill, the share of right ones as asked; `shift` moves which ones they are."""
    return {
        f"s{skill}": ItemScores(
            digest=f"{ids}{skill}",
            scores=np.roll(np.arange(num_items) < round(share * num_items), shift).astype(np.float64),
        )
        for skill, share in enumerate(row)
        if np.isfinite(share)
    }


def record(
    name: str,
    matrix: Sequence[Sequence[float]] = MATRIX,
    *,
    method: str | None = None,
    seed: int = 0,
    trained: Sequence[int] | None = None,
    budget: int = BUDGET,
    cap: int | None = None,
    settings: dict[str, Any] | None = None,
    first: Sequence[int] | None = None,
    tolerant: Sequence[Sequence[float]] | None = None,
    by_size: Sequence[str] = (),
    metrics: Sequence[str] = (),
    tests: dict[str, str] | None = None,
    engine: str = "hf",
    **items: Any,
) -> RunRecord:
    """Return a record; skills are introduced one a step, and share the stream as 3 : 1 : 1 : ...

    `by_size` names the skills whose single items are not known. `tolerant` is known of the last items as well.
    """
    found = items_of(matrix[-1], **items)
    if tolerant is not None:
        alike = items_of(tolerant[-1], **items)
        found = {
            skill: replace(one, tolerant=alike[skill].scores) if skill in alike else one for skill, one in found.items()
        }
    num_skills, num_steps = len(matrix[0]), len(matrix) - 1
    shares = np.array([3.0, *[1.0] * (num_skills - 1)])
    steps = [
        StepRecord(
            dataset=f"d{step}",
            pool=20 * (step + 1),
            trained=BUDGET if trained is None else trained[step],
            optimizer_steps=2,
            selection_seconds=1.5,
            training_seconds=2.0,
            evaluation_seconds=0.5,
        )
        for step in range(num_steps)
    ]
    return RunRecord(
        name=name,
        method=method or name,
        seed=seed,
        settings=settings or {},
        stream="toy",
        model="base",
        fingerprint="f",
        budget=budget,
        cap=cap,
        skills=tuple(f"s{skill}" for skill in range(num_skills)),
        introduced_at=np.array(first if first is not None else range(num_skills)),
        matrix=np.array(matrix, np.float64),
        num_items=np.full(num_skills, NUM_ITEMS),
        frequency=shares / shares.sum(),
        items={skill: scores for skill, scores in found.items() if skill not in by_size},
        steps=tuple(steps),
        made_by={"version": "0"},
        tolerant=np.zeros(0) if tolerant is None else np.array(tolerant, np.float64),
        metrics=tuple(metrics),
        tests=tests or {},
        engine=engine,
    )
