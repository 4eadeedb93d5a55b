"""Answer metrics: exact, token F1, boxes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf import registry
from adaptinf.errors import ConfigError, DataError
from adaptinf.evaluation.answers import Item, score
from adaptinf.evaluation.answers.boxes import box_in
from adaptinf.evaluation.answers.iou import iou


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [
        ("red", "red", 1.0),
        ("  Red. ", "red", 1.0),
        ("two  words", "Two words", 1.0),
        ("赤。", "赤", 1.0),
        ("\uff21\uff22", "ab", 1.0),  # full-width letters
        ("red", "green", 0.0),
        ("red ball", "red", 0.0),
        ("", "red", 0.0),
        ("1.5", "15", 0.0),
    ],
)
def test_exact_match_ignores_case_spaces_and_a_last_full_stop_only(prediction, answer, score):
    assert registry.metric["exact"](prediction, answer) == score


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [
        ("the red ball", "the red ball", 1.0),
        # Shared: the, red. Of three words and of four.
        ("the red cat", "the big red ball", 2 * 2 / (3 + 4)),
        # A word counts as often as both have it.
        ("no no no", "no no", 2 * 2 / (3 + 2)),
        ("Red, BALL!", "red ball", 1.0),
        ("cat", "dog", 0.0),
        ("", "dog", 0.0),
        # Symbols are words, too: a text without letters is not equal to any other such text.
        ("...", "!", 0.0),
        ("\u2192", "\u2192", 1.0),
        ("", "\u2192", 0.0),
        # Scripts without spaces are compared by character.
        ("東京", "東海", 0.5),
    ],
)
def test_token_f1_by_hand(prediction, answer, score):
    assert registry.metric["f1"](prediction, answer) == pytest.approx(score)


def test_overlap_of_boxes_by_hand():
    # 10 x 10 each, overlapping by 5 x 10: 50 of 150.
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0
    assert iou((0, 0, 2, 2), (0, 0, 2, 1)) == pytest.approx(0.5)
    assert iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0.0


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [
        ("[0, 0, 10, 10]", "0 0 10 10", 1.0),
        ("The box is (0.1, 0.1, 0.5, 0.5).", "[0.1, 0.1, 0.5, 0.5]", 1.0),
        ("[0, 0, 2, 1]", "[0, 0, 2, 2]", 1.0),
        ("[0, 0, 2, 0.9]", "[0, 0, 2, 2]", 0.0),
        ("[0, 0, 10]", "[0, 0, 10, 10]", 0.0),
        ("nowhere", "[0, 0, 10, 10]", 0.0),
        ("[10, 10, 0, 0]", "[0, 0, 10, 10]", 0.0),
    ],
)
def test_a_box_is_found_from_half_an_overlap_on(prediction, answer, score):
    assert registry.metric["iou"](Item(prediction, (answer,))) == score


corner = st.integers(-100, 100)
side = st.integers(1, 100)
boxes = st.builds(lambda x, y, width, height: (x, y, x + width, y + height), corner, corner, side, side)


@given(first=boxes, second=boxes)
def test_iou_is_symmetric_between_0_and_1_and_1_only_for_the_same_box(first, second):
    shared = iou(first, second)
    assert shared == iou(second, first)
    assert 0.0 <= shared <= 1.0
    assert (shared == 1.0) == (first == second)
    assert iou(first, first) == 1.0


def keyed(*box):
    return json.dumps([{"bbox_2d": list(box), "label": "cat"}])


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (keyed(500, 20, 700, 400), (500, 20, 700, 400)),
        ('```json\n[{"label": "cat 3", "bbox": [1.5, 2, 3, 4]}]\n```', (1.5, 2, 3, 4)),
        ("{'box': [[1, 2], [3, 4]]}", (1, 2, 3, 4)),
        ('[{"bbox_2d": [1, 2, 3, 4', (1, 2, 3, 4)),
        ("7 cats, box: 1 2 3 4", (1, 2, 3, 4)),
        ("<ref>cat 9</ref><box>(1,2),(3,4)</box>", (1, 2, 3, 4)),
        ("<|box_start|>(1,2),(3,4)<|box_end|>", (1, 2, 3, 4)),
        ("<box>[[1, 2, 3, 4]]</box>", (1, 2, 3, 4)),
        ("2 cats: [10, 20, 110, 220]", (10, 20, 110, 220)),
        ("[.10, .25, .50, .75]", (0.1, 0.25, 0.5, 0.75)),
        ("(1, 2), (3, 4)", (1, 2, 3, 4)),
        ("[-1, 2e1, 3., 4]", (-1, 20, 3, 4)),
        ("In 2 of 3 images: 1 2 3 4.", (1, 2, 3, 4)),
        ("0.1 0.2 0.3 0.4", (0.1, 0.2, 0.3, 0.4)),
        ("1 2 3 4 5", None),
        ("[1, 2, 3]", None),
        ("bbox_2d", None),
        ("x1 y1 x2 y2", None),
        ("", None),
    ],
)
def test_a_box_is_read_where_it_stands_and_never_from_a_name(text, box):
    assert box_in(text) == box


def test_the_best_of_several_allowed_answers_counts():
    assert score("exact", "red", ["green", "Red."]) == 1.0
    assert score("f1", "the red ball", ["a cat", "red ball"]) == pytest.approx(0.8)
    assert score("iou", keyed(10, 20, 110, 220), ["[500, 20, 700, 400]", "[10, 20, 110, 220]"]) == 1.0
    assert score("iou", keyed(500, 20, 700, 400), [keyed(500, 20, 700, 90)]) == 0.0
    assert score("exact", "red", "red") == 1.0


def test_an_unknown_metric_and_answers_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="unknown metric 'exat'; did you mean 'exact'"):
        score("exat", "a", ["a"])
    with pytest.raises(DataError, match="answers is empty"):
        score("exact", "a", [])
    with pytest.raises(DataError, match="the right answer 'none' holds no box"):
        score("iou", "[10, 20, 110, 220]", ["none"])
