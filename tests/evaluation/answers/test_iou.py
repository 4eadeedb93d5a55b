"""Boxes in every unit and form, several boxes, boxes that cannot be right, and odd predictions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.errors import ConfigError, DataError
from adaptinf.evaluation.answers import Item, remarks_on, score, scores_of
from adaptinf.evaluation.answers.box_units import Convention, image_size, in_unit

SIZE = {"width": 200, "height": 100}


def keyed(*boxes: list[float]) -> str:
    return json.dumps([{"bbox_2d": box, "label": "cat"} for box in boxes])


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        # Overlaps by hand: 200 x 70 of 200 x 380.
        (keyed([500, 20, 700, 400]), keyed([500, 20, 700, 90]), 0.0),
        (keyed([500, 0, 700, 90]), keyed([500, 0, 700, 90]), 1.0),
        (keyed([10, 20, 110, 220]), "[10, 20, 110, 220]", 1.0),
        ("[.10, .25, .50, .75]", "[0.10, 0.25, 0.50, 0.75]", 1.0),
        ("2 cats: [10, 20, 110, 220]", "[10, 20, 110, 220]", 1.0),
    ],
)
def test_a_box_is_read_in_any_notation(prediction, answer, expected):
    assert score("iou", prediction, [answer]) == expected


@pytest.mark.parametrize(
    ("options", "prediction"),
    [
        ({"boxes": "pixels"}, [20, 20, 60, 80]),
        ({"boxes": "pixels", "predicted_boxes": "0-1000"}, [100, 200, 300, 800]),
        ({"boxes": "pixels", "predicted_boxes": "0-999"}, [99.9, 199.8, 299.7, 799.2]),
        ({"boxes": "pixels", "predicted_boxes": "unit"}, [0.1, 0.2, 0.3, 0.8]),
        ({"boxes": "pixels", "predicted_form": "xywh"}, [20, 20, 40, 60]),
        ({"boxes": "pixels", "predicted_form": "cxcywh"}, [40, 50, 40, 60]),
        ({"boxes": "pixels", "predicted_form": "yxyx"}, [20, 20, 80, 60]),
        ({"boxes": "pixels", "predicted_boxes": "0-1000", "predicted_form": "xywh"}, [100, 200, 200, 600]),
    ],
)
def test_predictions_may_be_in_another_unit_and_form_than_answers(options, prediction):
    # The smallest overlap that counts is raised, so that a wrong conversion is seen.
    found = score("iou", str(prediction), ["[20, 20, 60, 80]"], meta=SIZE, min_iou=0.99, **options)
    assert found == 1.0
    other = {key: value for key, value in options.items() if not key.startswith("predicted")}
    if other != options:
        assert score("iou", str(prediction), ["[20, 20, 60, 80]"], meta=SIZE, min_iou=0.99, **other) == 0.0


units = st.sampled_from(["pixels", "unit", "0-999", "0-1000"])
forms = st.sampled_from(["xyxy", "xywh", "cxcywh", "yxyx"])
shares = st.integers(0, 99), st.integers(0, 99), st.integers(1, 100), st.integers(1, 100)


@given(units, forms, units, forms, *shares)
def test_a_box_is_the_same_in_every_convention(unit, form, other_unit, other_form, x, y, width, height):
    box = (2.0 * x, 1.0 * y, min(200.0, 2.0 * x + width), min(100.0, 1.0 * y + height))
    pixels, right, predicted = Convention("pixels", "xyxy"), Convention(unit, form), Convention(other_unit, other_form)
    answer = str(list(right.written(in_unit(box, pixels, right, SIZE))))
    prediction = str(list(predicted.written(in_unit(box, pixels, predicted, SIZE))))
    options = {"boxes": unit, "form": form, "predicted_boxes": other_unit, "predicted_form": other_form}
    assert score("iou", prediction, [answer], meta=SIZE, min_iou=0.999, **options) == 1.0
    assert remarks_on("iou", [Item(prediction, (answer,), SIZE)], **options) == []


@pytest.mark.parametrize(
    ("answer", "options", "reason"),
    [
        ("none", {}, "the right answer 'none' holds no box of four numbers"),
        ("[10, 10, 10, 20]", {}, "holds a box without area, read as xyxy"),
        ("[50, 50, 20, 20]", {}, "holds a box without area, read as xyxy"),
        ("[10, 20, 110, 90]", {"boxes": "unit"}, "holds a box outside of the image of 1 x 1, read as xyxy in unit"),
        ("[10, 20, 1010, 90]", {"boxes": "0-1000"}, "outside of the image of 1000 x 1000, read as xyxy in 0-1000"),
        ("[10, 20, 250, 90]", {"boxes": "pixels"}, "outside of the image of 200 x 100, read as xyxy in pixels"),
        ("[150, 20, 180, 90]", {"boxes": "pixels", "form": "xywh"}, "outside of the image of 200 x 100, read as xywh"),
        ("[-10, 20, 20, 90]", {"boxes": "pixels"}, "outside of the image"),
    ],
)
def test_a_box_that_cannot_be_right_is_an_error_of_the_data(answer, options, reason):
    with pytest.raises(DataError, match=reason):
        score("iou", "[1, 2, 3, 4]", [answer], meta=SIZE, **options)


def test_units_that_need_the_size_of_the_image_say_so():
    with pytest.raises(DataError, match="boxes in 0-1000 and in pixels are compared by the size of the image"):
        score("iou", "[1, 2, 3, 4]", ["[1, 2, 3, 4]"], boxes="pixels", predicted_boxes="0-1000")
    assert score("iou", "[1, 2, 3, 4]", ["[1, 2, 3, 4]"], boxes="pixels") == 1.0


@pytest.mark.parametrize(
    ("meta", "size"),
    [
        ({"width": 20, "height": 10}, (20, 10)),
        ({"image_width": 20, "image_height": 10}, (20, 10)),
        ({"image_size": [20, 10]}, (20, 10)),
        ({"image_size": (30, 10), "width": 20, "height": 10}, (20, 10)),
        ({"width": "20", "height": 10}, None),
        ({"width": 0, "height": 10}, None),
        ({}, None),
    ],
)
def test_the_size_of_the_image_is_that_of_the_row_else_of_its_image(meta: dict[str, Any], size):
    assert image_size(meta) == size


def test_options_with_other_values_are_refused():
    with pytest.raises(ConfigError, match="option boxes of metric iou is 'percent'; it should be 'pixels'"):
        score("iou", "", ["[1, 2, 3, 4]"], boxes="percent")
    with pytest.raises(ConfigError, match="option min_iou of metric iou is 2"):
        score("iou", "", ["[1, 2, 3, 4]"], min_iou=2)


def test_several_right_boxes_are_found_one_by_one():
    answer = keyed([0, 0, 10, 10], [20, 20, 30, 30])
    assert score("iou", keyed([20, 20, 30, 30], [0, 0, 10, 10]), [answer]) == 1.0
    assert score("iou", keyed([0, 0, 10, 10]), [answer]) == pytest.approx(2 / 3)
    # The same box twice finds one box.
    assert score("iou", keyed([0, 0, 10, 10], [0, 0, 10, 10]), [answer]) == pytest.approx(0.5)
    assert score("iou", "nothing", [answer]) == 0.0
    # Where one box is right, the first of the prediction counts: naming many is not rewarded.
    assert score("iou", keyed([50, 50, 60, 60], [0, 0, 10, 10]), [keyed([0, 0, 10, 10])]) == 0.0


@pytest.mark.parametrize(
    "two",
    [
        "<box>[[10, 20, 110, 220], [300, 20, 400, 90]]</box>",
        "<box>(10,20),(110,220)</box><box>(300,20),(400,90)</box>",
        "<box>[[[10, 20], [110, 220]], [[300, 20], [400, 90]]]</box>",
        '{"bbox": [[10, 20, 110, 220], [300, 20, 400, 90]]}',
        "[[10, 20, 110, 220], [300, 20, 400, 90]]",
    ],
)
def test_boxes_that_share_a_tag_or_a_key_all_count(two):
    assert score("iou", "[10, 20, 110, 220]", [two]) == pytest.approx(2 / 3)
    assert score("iou", "[[10, 20, 110, 220], [300, 20, 400, 90]]", [two]) == 1.0
    assert score("iou", two, [two]) == 1.0


def test_odd_predictions_are_counted():
    def odd(prediction: str, answer: str = "[20, 20, 60, 80]", **options: str) -> list[str]:
        return remarks_on("iou", [Item(prediction, (answer,), SIZE), Item(answer, (answer,), SIZE)], **options)

    assert odd("nowhere") == ["1 of 2 predictions without a box"]
    assert odd("[20, 20, 600, 80]", boxes="pixels") == [
        "1 of 2 predictions with a box outside of the image (boxes of predictions: pixels)"
    ]
    assert odd("[20, 20, 10, 80]") == ["1 of 2 predictions with a box without area (form of predictions: xyxy)"]
    assert odd("[0.1, 0.2, 0.3, 0.8]") == [
        "1 of 2 predictions with a box in another unit than the answer's (set boxes and predicted_boxes)"
    ]
    assert odd("[20, 20, 60, 80]", boxes="pixels") == []


def test_a_forgotten_unit_counts_for_the_tolerant_score_only():
    items = [Item("[0.1, 0.2, 0.3, 0.8]", ("[20, 20, 60, 80]",), SIZE)]
    found = scores_of("iou", items, boxes="pixels", min_iou=0.9)
    assert (found.strict[0], found.tolerant[0]) == (0.0, 1.0)
    assert scores_of("iou", items).tolerant[0] == 0.0, "no unit is named, so none is forgotten"
