"""inspect: one row as reading and a model see it, with exactly the tokens that training learns marked."""

from __future__ import annotations

import json
import re

import pytest

from adaptinf.cli.sample_text import GREEN, PLAIN, inspected_text
from adaptinf.config import ModelConfig
from adaptinf.data import Rejected
from adaptinf.doctor.sample import inspect_row
from adaptinf.errors import DataError
from adaptinf.images import open_image
from adaptinf.models import load
from adaptinf.models.chat import IGNORED, encode
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import row, rows, write_dataset

LONG = row(6, "word " * 3000, "never read", skill="long")
TALK = {
    "id": "talk",
    "conversations": [
        {"from": "human", "value": "2 + 2?"},
        {"from": "gpt", "value": "4"},
        {"from": "human", "value": "And 3 + 3?"},
        {"from": "gpt", "value": "6"},
    ],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    content = [*rows(4), row(4, "?", "", skill="s"), TALK, LONG]
    return write_dataset(tmp_path_factory.mktemp("data"), "mine", content)


def look(data, which, model=None):
    return inspect_row(data["path"], which, images=data["images"], model=model)


@pytest.fixture(scope="module")
def base():
    return load(ModelConfig(path=str(BASE_PATH)))


@pytest.mark.parametrize("which", ["0", "1", "talk"])
def test_marked_tokens_are_those_that_training_learns(data, base, which):
    found = look(data, which, str(BASE_PATH))
    batch = encode(base, [found.row], [[open_image(path) for path in found.row.images]])
    labels = batch.labels[0]
    assert sum(piece.num_tokens for piece in found.pieces) == len(labels)
    assert sum(piece.num_tokens for piece in found.pieces if piece.is_answer) == int((labels != IGNORED).sum())
    answers = [turn["content"][0]["text"] for turn in found.row.messages if turn["role"] == "assistant"]
    assert [piece.text.replace(" ", "") for piece in found.pieces if piece.is_answer] == [
        f"{answer}<|end|>" for answer in answers
    ]
    images = [piece for piece in found.pieces if piece.is_image]
    assert len(images) == len(found.row.images) and all(piece.num_tokens == 16 for piece in images)
    assert not any(piece.is_image and piece.is_answer for piece in found.pieces)
    assert [piece["is_picture"] for piece in found.as_json()["pieces"]] == [piece.is_image for piece in found.pieces]
    assert found.image_sizes == ((64, 64),) * len(found.row.images)


def test_it_is_told_in_colour_or_in_brackets(data):
    found = look(data, "0", str(BASE_PATH))
    plain, coloured = inspected_text(found, colour=False), inspected_text(found, colour=True)
    assert "[16 image tokens]" in plain and "[answer: red<|end|>]" in plain and "\x1b" not in plain
    assert f"{GREEN}red<|end|>{PLAIN}" in coloured
    assert "mine/000" in plain and "red.png, 64 x 64 pixels" in plain


def test_without_a_model_there_are_the_words_alone(data):
    found = look(data, "mine/003")
    assert found.row.id == "mine/003" and found.pieces == ()
    assert "as the model sees it" not in inspected_text(found, colour=False)


def test_a_sample_without_an_answer_token_left_is_warned_about(data):
    found = look(data, "6", str(BASE_PATH))
    assert found.is_cut and not any(piece.is_answer for piece in found.pieces)
    told = inspected_text(found, colour=False)
    assert "cut on the right" in told and "no answer token is left" in told


def test_a_rejected_row_says_why(data):
    found = look(data, "4")
    assert isinstance(found.row, Rejected)
    assert re.search("mine/004: rejected.*row 4.*empty answer in turn 2", inspected_text(found, colour=True), re.DOTALL)


def test_a_row_that_is_not_there_is_refused(data):
    for which in ("7", "mine/099"):
        with pytest.raises(DataError, match=f"no row or id '{which}'; it has 7 rows, numbered from 0"):
            look(data, which)


def test_the_command_prints_words_or_json(data, call):
    def inspect(*words):
        return call("inspect", data["path"], *words, "--images", data["images"])

    code, out, _ = inspect("0", "--model", BASE_PATH)
    assert code == 0 and out == inspected_text(look(data, "0", str(BASE_PATH)), colour=False) + "\n"
    code, out, _ = inspect("0", "--json")
    found = json.loads(out)
    assert code == 0 and found["id"] == "mine/000" and found["images"][0]["width"] == 64
    assert json.loads(inspect("4", "--json")[1])["rejected"]["reason"] == "empty answer in turn 2"
    assert inspect("nothing")[0] == 2
