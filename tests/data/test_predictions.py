"""The columns of an evaluation: what is saved comes back, what older files lack is unknown, other files are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptinf.data import Evaluation
from adaptinf.data.predictions import COLUMNS, predictions_table, read_predictions
from adaptinf.errors import StoreError
from adaptinf.storage import tables

NAN = float("nan")
TEXTS = {name: tables.text_array(["a"]) for name in ("skill", "id", "prediction", "answer")}
FORMER = {**TEXTS, "score": np.ones(1)}
"""The table of version 0.1."""


def evaluation(**fields) -> Evaluation:
    return Evaluation(
        skills=("a", "b"), introduced_at=np.zeros(2, np.int64), matrix=np.array([[0.5, NAN], [0.25, 1.0]]),
        num_items=np.array([4, 4]), frequency=np.ones(2), predictions=fields.pop("predictions", FORMER), **fields,
    )  # fmt: skip


def edited(folder, **changes):
    """Change keys of the saved matrix; None: take the key away."""
    path = folder / Evaluation.MATRIX
    saved = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in saved.items() if value is not None}))


def test_what_is_saved_comes_back_in_the_order_of_the_columns(tmp_path):
    tolerant, errors = np.array([[0.75, NAN], [0.5, 1.0]]), np.array([[NAN, NAN], [0.1, NAN]])
    made = evaluation(
        tolerant=tolerant, standard_errors=errors, metrics=("exact", "iou"),
        predictions=predictions_table({**FORMER, "tolerant": np.ones(1), "stop": tables.text_array(["length"])}),
    )  # fmt: skip
    made.save(tmp_path)
    found = Evaluation.load(tmp_path)
    np.testing.assert_array_equal(found.tolerant, tolerant)
    np.testing.assert_array_equal(found.standard_errors, errors)
    assert found.metrics == ("exact", "iou")
    assert list(found.predictions) == list(COLUMNS) and found.predictions["stop"].tolist() == ["length"]
    assert list(found.to_pandas()) == ["a", "b", "a (tolerant)", "b (tolerant)"]


def test_what_is_not_known_is_not_taken_for_the_strict_score(tmp_path):
    made = evaluation()
    assert np.isnan(made.tolerant).all() and made.metrics == ("", "") and list(made.to_pandas()) == ["a", "b"]
    assert np.isnan(made.predictions["tolerant"]).all()
    assert made.predictions["answers"].tolist() == ['["a"]'] and made.predictions["prompt"].tolist() == [""]


@pytest.mark.parametrize("more", [{}, {"item": tables.text_array(["0"])}])
def test_an_evaluation_of_an_earlier_version_is_read_with_its_new_fields_unknown(more, tmp_path):
    evaluation().save(tmp_path)
    edited(tmp_path, tolerant=None, standard_errors=None, metrics=None)
    tables.write_table(tmp_path / Evaluation.PREDICTIONS, {**FORMER, **more})
    found = Evaluation.load(tmp_path)
    assert np.isnan(found.tolerant).all() and found.tolerant.shape == (2, 2) and found.metrics == ("", "")
    assert list(found.predictions) == list(COLUMNS) and np.isnan(found.predictions["tolerant"]).all()


@pytest.mark.parametrize("changes", [{"tolerant": [[0.5, 0.5]]}, {"standard_errors": [0.1]}, {"metrics": ["exact"]}])
def test_a_matrix_whose_fields_are_of_another_shape_is_damaged(changes, tmp_path):
    evaluation().save(tmp_path)
    edited(tmp_path, **changes)
    with pytest.raises(StoreError, match=r"matrix\.json is not what was written there"):
        Evaluation.load(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        dict(reversed(predictions_table(FORMER).items())),
        {**FORMER, "stop": TEXTS["id"]},
        {**predictions_table(FORMER), "tolerant": TEXTS["id"]},
        {**predictions_table(FORMER), "prompt": np.ones(1)},
        {**FORMER, "score": np.ones(1, np.int64)},
    ],
)
def test_predictions_with_other_columns_or_types_are_damaged(table, tmp_path):
    path = tmp_path / "predictions.parquet"
    tables.write_table(path, table)
    with pytest.raises(StoreError, match=r"predictions\.parquet is not what was written there: (its )?column"):
        read_predictions(path)
