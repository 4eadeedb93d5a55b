"""Every metric gives what its paper or its reference implementation gives, written out."""

from __future__ import annotations

import pytest

from adaptinf.evaluation.answers import Item, score, scores_of
from adaptinf.evaluation.answers.vqa import plain

TEN = ["red"] * 3 + ["maroon"] * 2 + ["dark red"] * 5


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        # Three of ten: left out, two of the others for three people, three for seven.
        ("red", TEN, (3 * (2 / 3) + 7 * 1.0) / 10),
        ("maroon", TEN, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        ("dark red", TEN, 1.0),
        ("blue", TEN, 0.0),
        ("one", ["1"] + ["2"] * 9, (1 * 0.0 + 9 * (1 / 3)) / 10),
        ("two", ["1"] + ["2"] * 9, 1.0),
        # Fewer than four people: all others have to agree.
        ("red", ["red"], 1.0),
        ("red", ["red", "blue"], 0.5),
        ("red", ["red", "red", "blue"], (2 * 0.5 + 1.0) / 3),
    ],
)
def test_vqa_accuracy_leaves_out_one_person_after_the_other(prediction, answers, expected):
    assert score("vqa_accuracy", prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Two Dogs.", "2 dogs"),
        ("Yes!", "yes"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("1,000", "1000"),
        ("5.5", "5.5"),
        ("St. John", "st john"),
        ("dont", "dont"),
        ("don't", "dont"),
        ("it's", "it's"),
        ("none", "0"),
        ("a\tcat\n", "cat"),
        ("t-shirt", "t shirt"),
    ],
)
def test_answers_are_normalised_as_in_vqa(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("10", "10.5", 1.0),
        ("10.5", "10", 1.0),
        ("10.6", "10", 0.0),
        ("-10", "10", 0.0),
        ("5%", "0.05", 1.0),
        ("5%", "5", 0.0),
        ("Blue", "blue", 1.0),
        ("1,000", "1000", 0.0),
        ("0", "0.0", 1.0),
        ("0.01", "0", 0.0),
        ("inf", "inf", 1.0),
        ("nan", "5", 0.0),
        ("2011", "2010", 1.0),
    ],
)
def test_relaxed_accuracy_is_that_of_chartqa(prediction, answer, expected):
    assert score("relaxed", prediction, [answer]) == expected


def test_another_tolerance_of_relaxed_accuracy():
    assert score("relaxed", "2011", ["2010"], tolerance=0) == 0.0
    assert score("relaxed", "12", ["10"], tolerance=0.2) == 1.0


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        # anls 0.0.2 of the package index gives the same.
        ("Hello Wrold", ["Hello World"], 0.8181818181818181),
        ("cat", ["dog"], 0.0),
        ("ab", ["ac"], 0.0),
        ("HELLO  there", ["hello there"], 1.0),
        ("$1,250", ["$1250", "1250"], 0.8333333333333334),
    ],
)
def test_anls_is_the_edit_distance_of_the_best_answer(prediction, answers, expected):
    assert score("anls", prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        # rouge_score 0.1.2 gives the same; the second and third are the example of Lin (2004), Sec. 3.1.
        ("The quick brown dog jumps on the log.", ["The quick brown fox jumps over the lazy dog"], 0.5882352941176471),
        ("police kill the gunman", ["police killed the gunman"], 0.75),
        ("the gunman kill police", ["police killed the gunman"], 0.5),
        ("do not stop", ["don't stop"], 1 / 3),
        ("police kill the gunman", ["x", "police killed the gunman"], 0.75),
    ],
)
def test_rouge_l_is_the_longest_common_subsequence(prediction, answers, expected):
    assert score("rouge_l", prediction, answers) == pytest.approx(expected)


def test_bleu_is_that_of_its_paper():
    # Candidate 1 and the three references of Papineni et al. (2002), Sec. 2.1.
    candidate = "It is a guide to action which ensures that the military always obeys the commands of the party"
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
    ]
    assert score("bleu", candidate, references) == pytest.approx(0.5045666840058485)
    # Its modified unigram precision is 2/7; sacrebleu smooths those of longer n-grams.
    assert score("bleu", "the the the the the the the", ["the cat is on the mat"]) == pytest.approx(0.0780984984)
    assert score("bleu", "Red", ["red"]) == 0.0 and score("bleu", "Red", ["red"], lowercase=True) == 1.0
    assert 0.0 < score("bleu", "\u4eca\u5929\u5f88\u597d", ["\u4eca\u5929\u4e0d\u597d"], tokenize="zh") < 1.0


def test_chrf_is_that_of_sacrebleu():
    assert score("chrf", "the cat sat", ["the cat sat on the mat"]) == pytest.approx(0.4959348409966008)
    assert score("chrf", "the cat sat", ["the cat sat on the mat"], word_order=2) == pytest.approx(0.4983595347043889)


def test_cider_is_a_tenth_of_that_of_its_reference_implementation():
    # pycocoevalcap 1.2: 3.75470158, 5.85191825, 0.
    answers = [
        ("a dog runs on the green grass", "the dog is running on grass"),
        ("a red car on the street", "a car parked on a street"),
        ("two people ride horses on the beach", "people riding horses near the sea"),
    ]
    predictions = ["a dog is running on the grass", "a red car on the street", "a man eats an apple"]
    items = [Item(text, own) for text, own in zip(predictions, answers, strict=True)]
    assert scores_of("cider", items).strict.tolist() == pytest.approx([0.375470158, 0.585191825, 0.0])
    # With one answer each: 10, 10, 1.90736582.
    predictions = [answers[0][0], answers[1][0], "two people"]
    items = [Item(text, own[:1]) for text, own in zip(predictions, answers, strict=True)]
    assert scores_of("cider", items).strict.tolist() == pytest.approx([1.0, 1.0, 0.190736582])


def test_cider_of_texts_for_which_its_formula_is_none():
    assert score("cider", "a red car", ["a red car"]) == 1.0, "one item: no n-gram is rare"
    assert score("cider", "a red car", ["a blue car"]) == 0.0
    short = [Item("cat", ("cat",)), Item("dog", ("bird",)), Item("", ("fish",))]
    assert scores_of("cider", short).strict.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("The cat is on the mat.", "on the mat", 1.0),
        ("nothing", "not", 0.0),
        ("It is on a mat", "on the mat", 0.0),
        ("\u6771\u4eac\u306b\u3044\u307e\u3059", "\u6771\u4eac", 1.0),
        ("a \u2192 b", "\u2192", 1.0),
    ],
)
def test_contains_looks_for_whole_words_in_one_piece(prediction, answer, expected):
    assert score("contains", prediction, [answer]) == expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("There are 3 cats.", "3", 1.0),
        ("3 or 4", "3", 0.0),
        ("1,234.50", "1234.5", 1.0),
        ("-3", "3", 0.0),
        ("3-4", "3 4", 1.0),
        ("\u22123", "-3", 1.0),
        ("4, 3", "3, 4", 0.0),
        ("version 1.2.3", "1", 0.0),
        ("5 % of 3D", "5", 1.0),
        ("2e3", "2000", 1.0),
        (".5", "0.5", 1.0),
        ("It is 7.", "7", 1.0),
        ("none", "0", 0.0),
    ],
)
def test_numbers_are_compared_whatever_stands_around_them(prediction, answer, expected):
    assert score("numbers", prediction, [answer]) == expected


def test_numbers_in_words_count_for_the_tolerant_score_and_a_tolerance_may_be_set():
    found = scores_of("numbers", [Item("Three cats", ("3",))])
    assert (found.strict[0], found.tolerant[0]) == (0.0, 1.0)
    assert score("numbers", "10.4", ["10"], tolerance=0.05) == 1.0


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("cat, dog", "dog, cat", 1.0),
        ('["Dog", "cat"]', "cat; dog", 1.0),
        ("1. cat\n2. dog", "cat and dog", 1.0),
        ("- cat\n- dog", "cat\ndog", 1.0),
        ("cat, dog, and bird", "cat, bird, dog", 1.0),
        ("cat", "cat, dog", 2 / 3),
        ("cat, dog, bird, fish", "cat", 2 / 5),
        ("cat, cat", "cat", 2 / 3),
        ("", "cat", 0.0),
        ("[]", "[]", 1.0),
        ("[1, 2]", "[2, 1]", 1.0),
        ("New York, NY; Boston, MA", "Boston, MA; New York, NY", 1.0),
    ],
)
def test_lists_are_compared_in_any_order(prediction, answer, expected):
    assert score("lists", prediction, [answer]) == pytest.approx(expected)
