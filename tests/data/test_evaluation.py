"""The evaluation as it is saved."""

from __future__ import annotations

import numpy as np

from adaptinf.data import Evaluation
from adaptinf.storage import tables


def test_rejected_test_rows_are_saved_without_a_time(tmp_path):
    empty = {name: tables.text_array([]) for name in ("skill", "id", "prediction", "answer")}
    made = Evaluation(
        skills=("sums",), introduced_at=np.zeros(1, np.int64), matrix=np.zeros((1, 1)),
        num_items=np.ones(1, np.int64), frequency=np.ones(1), predictions={**empty, "score": np.zeros(0)},
        rejected=({"file": "t.json", "row": 3, "reason": "no answer"},),
    )  # fmt: skip
    made.save(tmp_path)
    assert Evaluation.load(tmp_path).rejected == made.rejected
