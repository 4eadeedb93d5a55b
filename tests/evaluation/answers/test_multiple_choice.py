"""Multiple choice: letters and texts, options of the row and of the question, sentences around a letter."""

from __future__ import annotations

import json

import pytest

from adaptinf.errors import DataError
from adaptinf.evaluation.answers import Item, score, scores_of
from adaptinf.evaluation.answers.choices import choices_of

QUESTION = "What is it?\nA. a cat\nB. a dog\nC. a big dog\nD. none of these\nAnswer with the option's letter."
META = {"question": QUESTION}
OPTIONS = {"A": "a cat", "B": "a dog", "C": "a big dog", "D": "none of these"}


@pytest.mark.parametrize(
    "question",
    [
        QUESTION,
        "What is it?\n(A) a cat\n(B) a dog\n(C) a big dog\n(D) none of these",
        "What is it? (A) a cat (B) a dog (C) a big dog (D) none of these",
        "What is it? A) a cat, B) a dog, C) a big dog, D) none of these",
        "What is it?\n(a) a cat\n(b) a dog\n(c) a big dog\n(d) none of these",
        "What is it?\na. a cat\nb. a dog\nc. a big dog\nd. none of these",
        "Context: A. Smith drew it. What is it?\nOptions: A: a cat\nB: a dog\nC: a big dog\nD: none of these",
    ],
)
def test_options_are_read_from_the_question(question):
    assert choices_of({"question": question}) == OPTIONS


@pytest.mark.parametrize(
    "meta",
    [
        {"choices": list(OPTIONS.values())},
        {"options": json.dumps(list(OPTIONS.values()))},
        {"options": OPTIONS},
        {"options": {label.lower(): text for label, text in OPTIONS.items()}},
        {"choices": {"label": [f"({label.lower()})" for label in OPTIONS], "text": list(OPTIONS.values())}},
        {"options": str(list(OPTIONS.values()))},
        {"choices": {"label": list(OPTIONS), "text": list(OPTIONS.values())}},
        {"choices": [f"{label}. {text}" for label, text in OPTIONS.items()]},
        {**OPTIONS, "E": None},
    ],
)
def test_options_of_the_row_come_first(meta):
    assert choices_of({"question": "A. other\nB. thing", **meta}) == OPTIONS


@pytest.mark.parametrize("question", ["What is it?", "Is A. Smith here?", "Section B. is it?", ""])
def test_a_question_without_options_has_none(question):
    assert choices_of({"question": question}) == {}


@pytest.mark.parametrize(
    ("prediction", "strict", "tolerant"),
    [
        ("B", 1, 1),
        ("b", 1, 1),
        ("(B)", 1, 1),
        ("B.", 1, 1),
        ("B)", 1, 1),
        ("[B]", 1, 1),
        ("(b).", 1, 1),
        ("a dog", 1, 1),
        ("A dog.", 1, 1),
        ("B. a dog", 1, 1),
        ("(B) A dog", 1, 1),
        ("Option B", 1, 1),
        ("The answer is B.", 0, 1),
        ("Answer: (B)", 0, 1),
        ('{"answer": "B"}', 0, 1),
        ("I think it is option B because of its tail.", 0, 1),
        ("It is a dog, I am sure.", 0, 1),
        ("**B**", 0, 1),
        ("B. a cat", 0, 1),
        ("It is a big dog.", 0, 0),
        ("a dog or a cat", 0, 0),
        ("A, B, C or D", 0, 0),
        ("(A) (B)", 0, 0),
        ("A. B. C. D.", 0, 0),
        ("not B", 0, 0),
        ("C", 0, 0),
        ("E", 0, 0),
        ("", 0, 0),
        ("A dog is what B shows, or C", 0, 0),
        ("A because B is too big", 0, 0),
        ("The correct answer is B because A is too big.", 0, 1),
        ("The correct answer is A because B is too big.", 0, 0),
        ("The answer is B, C or D", 0, 0),
        ("The answer is B or C", 0, 0),
        ("A cat and a horse, so (B)", 0, 1),
    ],
)
def test_an_option_is_named_by_its_letter_or_its_text(prediction, strict, tolerant):
    found = scores_of("multiple_choice", [Item(prediction, ("B",), META)])
    assert (found.strict[0], found.tolerant[0]) == (strict, tolerant)
    assert score("multiple_choice", prediction, ["a dog"], meta=META) == strict, "the answer may be the text"


def test_options_may_be_numbers():
    meta = {"choices": [3, 4.5]}
    assert score("multiple_choice", "4.5", ["B"], meta=meta) == 1.0


def test_without_options_letters_are_compared():
    assert score("multiple_choice", "(B)", ["B"]) == 1.0
    assert score("multiple_choice", "B. whatever it says", ["B"]) == 1.0
    assert score("multiple_choice", "B. C.", ["B"]) == 0.0
    assert score("multiple_choice", "2", ["2"], meta={"question": "Which?\n1. cat\n2. dog"}) == 1.0


@pytest.mark.parametrize(
    ("answer", "meta", "reason"),
    [
        ("E", META, "the right answer 'E' is none of the options A, B, C, D"),
        ("a bird", META, "the right answer 'a bird' is none of the options"),
        ("a bird", {}, "the right answer 'a bird' is no letter, and the question has no options"),
        ("cat", {"choices": ["cat", "cat"]}, "is none of the options A, B"),
        ("1", META, "the right answer '1' is none of the options"),
    ],
)
def test_an_answer_that_is_no_option_is_an_error_of_the_data(answer, meta, reason):
    with pytest.raises(DataError, match=reason):
        score("multiple_choice", "B", [answer], meta=meta)


@pytest.mark.parametrize(
    "prediction", ["It isn't a cat.", "That is not a dog.", "The answer isn't B.", "It cannot be B"]
)
def test_an_option_that_is_denied_is_not_named(prediction):
    for answer in ("A", "B"):
        assert scores_of("multiple_choice", [Item(prediction, (answer,), META)]).tolerant[0] == 0.0


def test_figures_within_a_sentence_are_no_options():
    assert choices_of({"question": "What do (a) and (b) have in common?"}) == {}


def test_thoughts_that_were_cut_off_name_no_option():
    items = [Item(text, ("B",), META) for text in ("<think>B looks right", "<think>A?</think>B", "<thinking>\n(B)")]
    assert scores_of("multiple_choice", items).tolerant.tolist() == [0.0, 1.0, 0.0]
    assert scores_of("exact", [Item("<think>The answer is red", ("red",))]).tolerant.tolist() == [0.0]
    assert scores_of("contains", [Item("<think>The answer is red", ("red",))]).tolerant.tolist() == [1.0]
