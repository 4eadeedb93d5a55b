"""What holds of every registered metric."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf import registry
from adaptinf.evaluation.answers import Item, answer_problem, score, scores_of
from adaptinf.evaluation.answers.judge import options_of

METRICS = registry.metric.names()
CASE_COUNTS = {"bleu", "chrf"}
"""Metrics that tell upper from lower case unless `lowercase` is set."""
ONE_OF_SEVERAL = {"vqa_accuracy", "cider"}
"""Metrics under which an answer is wholly right only if all allowed ones are equal to it."""

words = st.lists(
    st.sampled_from("red ball The two 3 dogs 7.5 yes no A B cat 12% Paris".split()), min_size=1, max_size=6
)
sentences = words.map(" ".join)
corner, side = st.integers(0, 500), st.integers(1, 400)
boxes = st.builds(lambda x, y, width, height: [x, y, x + width, y + height], corner, corner, side, side)
box_texts = st.one_of(
    boxes.map(str),
    boxes.map(lambda box: json.dumps([{"bbox_2d": box, "label": "cat"}])),
    boxes.map(lambda box: "<box>({},{}),({},{})</box>".format(*box)),
)
letters = st.sampled_from(["A", "(B)", "C.", "d", "The answer is B.", "A, B, C or D", "cat", "a red ball"])
lists = st.lists(st.sampled_from(["cat", "dog", "bird"]), min_size=1).map(json.dumps)
wrapped = st.sampled_from(
    ['"{}"', "```\n{}\n```", "The answer is {}.", '{{"answer": "{}"}}', "**{}**", "<think>x</think>{}"]
)
plain = st.one_of(sentences, box_texts, letters, lists, st.text(max_size=40))
predictions = st.one_of(plain, st.builds(str.format, wrapped, sentences))
META = {"question": "Which?\nA. cat\nB. dog\nC. a red ball\nD. 7.5"}


def judged(metric: str, items: list[Item]) -> list[Item]:
    """Return the items whose answers the metric can judge; rows with an empty answer are no test items."""
    whole = [item for item in items if item.answers and all(answer.strip() for answer in item.answers)]
    return [item for item in whole if answer_problem(metric, item) is None]


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(data=st.lists(st.tuples(predictions, st.lists(plain, min_size=1, max_size=4)), min_size=1, max_size=4))
def test_scores_are_in_0_to_1_and_the_tolerant_one_is_never_less(metric: str, data: list[Any]) -> None:
    items = judged(metric, [Item(prediction, tuple(answers), META) for prediction, answers in data])
    found = scores_of(metric, items)
    assert found.strict.shape == found.tolerant.shape == (len(items),)
    assert found.strict.dtype == found.tolerant.dtype == np.float64
    assert np.all((found.strict >= 0) & (found.strict <= found.tolerant) & (found.tolerant <= 1))
    again = scores_of(metric, items)
    np.testing.assert_array_equal(found.strict, again.strict)
    np.testing.assert_array_equal(found.tolerant, again.tolerant)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(answer=plain, others=st.lists(plain, max_size=3))
def test_an_exact_answer_scores_1(metric: str, answer: str, others: list[str]) -> None:
    allowed = (answer,) if metric in ONE_OF_SEVERAL else (answer, *others)
    for item in judged(metric, [Item(answer, allowed, META)]):
        assert score(metric, answer, item.answers, meta=META) == 1.0


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(prediction=predictions, answers=st.lists(plain, min_size=2, max_size=4), seed=st.randoms(use_true_random=False))
def test_the_order_of_allowed_answers_does_not_matter(metric, prediction, answers, seed):
    shuffled = list(answers)
    seed.shuffle(shuffled)
    for _ in judged(metric, [Item(prediction, tuple(answers), META)]):
        assert score(metric, prediction, answers, meta=META) == pytest.approx(
            score(metric, prediction, shuffled, meta=META), abs=1e-12
        )


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(prediction=st.one_of(sentences, box_texts), answer=st.one_of(sentences, box_texts))
def test_blanks_around_a_prediction_do_not_count_and_case_only_where_it_says_so(metric, prediction, answer):
    for _ in judged(metric, [Item(prediction, (answer,), META)]):
        expected = score(metric, prediction, [answer], meta=META)
        assert score(metric, f" \n{prediction}  ", [answer], meta=META) == expected
        lowered = {"lowercase": True} if metric in CASE_COUNTS else {}
        case = score(metric, prediction.upper(), [answer], meta=META, **lowered)
        assert case == pytest.approx(score(metric, prediction, [answer], meta=META, **lowered))


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"contains"}))
def test_naming_every_option_is_not_rewarded_by_the_tolerant_score(metric):
    meta = {"question": "Which colour?\nA. red\nB. green\nC. blue\nD. black"}
    hedged = [
        "A, B, C or D",
        "red, green, blue or black",
        "(A) red (B) green (C) blue (D) black",
        "A. red\nB. green\nC. blue\nD. black",
        "It is A, or B, or C, or D.",
        "The answer is A, B, C or D",
        '["A", "B", "C", "D"]',
    ]
    for right in "ABCD":
        items = [Item(text, (right,), meta) for text in hedged]
        if judged(metric, items):
            assert np.all(scores_of(metric, items).tolerant <= 0.5), metric


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(
    answer=st.one_of(plain, st.sampled_from(["a", ".", ",", "[]", "the", "?"])), blank=st.sampled_from(["", " ", "\n"])
)
def test_an_empty_prediction_is_never_right(metric: str, answer: str, blank: str) -> None:
    meta = {"question": "Which?\nA. cat\nB. \nC. dog"}
    for item in judged(metric, [Item(blank, (answer,), meta)] if answer.strip() else []):
        assert scores_of(metric, [item]).tolerant[0] == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_line_and_a_type_and_a_default_for_each_option(metric):
    line = (inspect.getdoc(registry.metric[metric]) or "").splitlines()[0]
    assert line.startswith("Return ") and line.endswith(".")
    for name, option in options_of(metric).items():
        assert option.kind is not inspect.Parameter.empty, name
