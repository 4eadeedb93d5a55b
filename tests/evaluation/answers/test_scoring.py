"""Scores of items: three shapes of metrics, strict and tolerant scores, the public function and its checks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import rapidfuzz

from adaptinf import registry
from adaptinf.errors import ConfigError, DataError
from adaptinf.evaluation.answers import Item, refined, remarks_on, score, scores_of


@pytest.fixture
def own_metrics():
    """Metrics of every shape, known in one test only."""
    with registry.scope():

        @registry.metric("first_word")
        def first_word(prediction: str, answer: str) -> float:
            """Agree in the first word."""
            return float(prediction.split()[:1] == answer.split()[:1])

        @registry.metric("as_long")
        def as_long(item: Item, *, within: int = 0) -> float:
            """Be as long as one of the answers."""
            return float(any(abs(len(item.prediction) - len(answer)) <= within for answer in item.answers))

        @registry.metric("longest")
        def longest(items: list[Item]) -> list[float]:
            """Be the longest prediction."""
            most = max(len(item.prediction) for item in items)
            return [len(item.prediction) / max(1, most) for item in items]

        yield


def test_the_metric_of_a_plug_in_file_of_an_earlier_version_works_as_before(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from adaptinf.evaluation.answers import normalised\n"
        "from adaptinf.registry import metric\n"
        "@metric('starts')\n"
        "def starts(prediction, answer):\n"
        "    return float(normalised(prediction).startswith(normalised(answer)))\n"
    )
    with registry.scope([tmp_path / "mine.py"]):
        assert score("starts", "Red ball", ["blue", "red"]) == 1.0
        found = scores_of("starts", [Item("The answer is red", ("red",)), Item("blue", ("red",))])
    assert found.strict.tolist() == [0.0, 0.0] and found.tolerant.tolist() == [1.0, 0.0]


def test_a_metric_may_compare_two_texts_an_item_or_all_items(own_metrics):
    items = [Item("red ball", ("a", "red car")), Item("blue", ("four",))]
    assert scores_of("first_word", items).strict.tolist() == [1.0, 0.0]
    assert scores_of("as_long", items).strict.tolist() == [0.0, 1.0]
    assert scores_of("as_long", items, within=1).strict.tolist() == [1.0, 1.0]
    assert scores_of("longest", items).strict.tolist() == [1.0, 0.5]
    assert scores_of("longest", []).strict.shape == (0,)


def test_an_option_is_checked_by_name_and_by_value(own_metrics):
    with pytest.raises(ConfigError, match="metric as_long has no option 'withn'; did you mean 'within'"):
        score("as_long", "a", ["b"], withn=1)
    with pytest.raises(ConfigError, match="metric first_word has no option 'within'; it takes none"):
        score("first_word", "a", ["b"], within=1)
    with pytest.raises(ConfigError, match="option within of metric as_long is '1'; it should be a valid integer"):
        score("as_long", "a", ["b"], within="1")


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), None, "good"])
def test_a_score_outside_of_0_to_1_is_refused_by_name(value):
    with registry.scope():
        registry.metric("odd")(lambda prediction, answer: value)
        with pytest.raises(ConfigError, match="metric odd gives the score .*, not a number from 0 to 1"):
            score("odd", "a", ["b"])


@pytest.mark.parametrize(
    "function",
    [
        lambda prediction, answer: 1 / 0,
        lambda item: item.meta["choices"],
        lambda items: items.sort(),
        lambda items: lambda item: item.nothing,
    ],
)
def test_a_metric_that_fails_is_named_with_the_error(function):
    with registry.scope():
        registry.metric("broken")(function)
        with pytest.raises(
            ConfigError, match=r"metric broken fails \((ZeroDivision|Key|Attribute)Error: .*; repair it"
        ):
            scores_of("broken", [Item("a", ("b",))])


def test_a_function_that_cannot_be_called_as_a_metric_is_refused():
    with registry.scope():
        registry.metric("three")(lambda prediction, answer, other: 1.0)
        with pytest.raises(ConfigError, match=r"metric three takes \(prediction, answer, other\); a metric takes"):
            score("three", "a", ["b"])


def test_functions_that_do_not_say_what_they_take_compare_two_texts():
    with registry.scope():
        registry.metric("any_two")(lambda *texts: float(texts[0] == texts[1]))
        registry.metric("alike")(rapidfuzz.distance.Levenshtein.normalized_similarity)
        assert score("any_two", "a", ["b", "a"]) == 1.0
        assert score("alike", "ab", ["ac"]) == 0.5


def test_a_metric_of_all_items_gives_as_many_scores(own_metrics):
    registry.metric("short")(lambda items: [1.0])
    with pytest.raises(ConfigError, match="metric short gives 1 scores to 2 items"):
        scores_of("short", [Item("a", ("b",))] * 2)


def test_the_tolerant_score_is_that_of_what_a_prediction_says():
    items = [Item("```\nred\n```", ("red",)), Item("The answer is red.", ("red",)), Item("red", ("red",))]
    found = scores_of("exact", [*items, Item("red, green or blue", ("red",))])
    assert found.strict.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert found.tolerant.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_a_metric_of_all_items_may_return_what_scores_one():
    with registry.scope():

        @registry.metric("rare")
        def rare(items: list[Item]) -> Callable[[Item], float]:
            """Count a word by how rare it is."""
            return lambda item: 1.0 / max(1, sum(item.prediction in other.answers for other in items))

        items = [Item("red", ("red",)), Item("'blue'", ("blue", "red")), Item("blue", ("blue",))]
        found = scores_of("rare", items)
        assert found.strict.tolist() == [0.5, 1.0, 0.5] and found.tolerant.tolist() == [0.5, 1.0, 0.5]


def test_a_metric_of_all_items_is_tolerant_too(own_metrics):
    found = scores_of("longest", [Item('"four"', ("x",)), Item("sixsix", ("x",))])
    assert np.all(found.tolerant >= found.strict)


def test_a_metric_may_see_more_in_a_prediction_and_remark_on_it():
    with registry.scope():

        @registry.metric("reversed")
        @refined(
            candidates=lambda item: [item.prediction[::-1]],
            remark=lambda item: "is empty" if not item.prediction else None,
        )
        def backwards(prediction: str, answer: str) -> float:
            """Be equal."""
            return float(prediction == answer)

        items = [Item("der", ("red",)), Item("", ("red",))]
        assert scores_of("reversed", items).tolerant.tolist() == [1.0, 0.0]
        assert scores_of("reversed", items).strict.tolist() == [0.0, 0.0]
        assert remarks_on("reversed", items) == ["1 of 2 predictions is empty"]


def test_the_public_function_refuses_what_is_no_text():
    with pytest.raises(DataError, match="prediction is 3, not a text"):
        score("exact", 3, ["3"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="answers holds None, not a text"):
        score("exact", "3", ["3", None])  # type: ignore[list-item]
    with pytest.raises(DataError, match="answers is empty"):
        score("exact", "3", [])
