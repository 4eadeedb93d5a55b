"""What predictions say once their wrapping is removed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.evaluation.answers.unwrapped import MAX_LAYERS, unwrapped


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ("red", "red"),
        ('```json\n{"answer": "red"}\n```', "red"),
        ('{"reason": "it is", "answer": 4}', "4"),
        ('["red"]', "red"),
        ('"red".', "red"),
        ("**red**", "red"),
        ("\u201cred\u201d", "red"),
        ("The answer is red.", "red."),
        ("Answer: **red**", "red"),
        ("The colour is blue, so the final answer is: red", "red"),
        ("<think>It is blue. The answer is blue.</think>\nred", "red"),
        ("<answer> red </answer>", "red"),
        ("So it is $\\boxed{42}$.", "42"),
        ("Yes, there is a dog.", "Yes"),
        ("There is a dog", "dog"),
        ("The ball on the left is red.", "red."),
    ],
)
def test_one_answer_is_left(prediction, said):
    assert unwrapped(prediction)[-1] == said


@pytest.mark.parametrize(
    "prediction", ["A, B, C or D", "red, green, blue", "yes or no", '["red", "green"]', "A\nB", ""]
)
def test_a_text_that_names_several_answers_stays_whole(prediction):
    assert unwrapped(prediction) == [prediction]


@pytest.mark.parametrize("prediction", ["Yes, no.", "Yes. But no, there is none"])
def test_yes_and_no_together_are_neither(prediction):
    assert not {"Yes", "no", "No"} & set(unwrapped(prediction))


@given(st.text(max_size=60))
def test_any_text_is_unwrapped_in_few_layers_and_is_the_first_of_them(text):
    found = unwrapped(text)
    assert found[0] == text and len(found) <= MAX_LAYERS + 1
