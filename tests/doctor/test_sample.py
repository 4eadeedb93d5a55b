"""inspect: one row as reading and a model see it, with exactly the tokens that training learns marked."""

from __future__ import annotations

import json
import re

import pytest
import torch

from adaptinf.cli.sample_text import GREEN, PLAIN, inspected_text
from adaptinf.config import ModelConfig
from adaptinf.data import Rejected
from adaptinf.doctor.lookup import Rows
from adaptinf.doctor.sample import inspect_row
from adaptinf.errors import DataError
from adaptinf.images import open_image
from adaptinf.models import load
from adaptinf.models.chat import IGNORED, encode
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import row, rows, write_dataset
from tests.helpers.text_model import write_text_model

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
    return inspect_row(Rows(path=data["path"], images=data["images"]), which, model=model)


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
    for which in ("7", "mine/099", "0002"):
        with pytest.raises(DataError, match=f"no row or id '{which}'; it has 7 rows, numbered from 0"):
            look(data, which)
    with pytest.raises(DataError, match="has no row 7; it has 7 rows, numbered from 0"):
        look(data, 7)
    with pytest.raises(DataError, match="did you mean '003'"):
        look(data, "0003")


COCO = [
    {"id": id, "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": f"I am {id}."}]}
    for id in ("000000000002", "000000033471", "1", "000000000009")
]


@pytest.mark.parametrize(
    ("which", "answer", "note"),
    [
        ("000000000002", "I am 000000000002.", ""),
        ("000000033471", "I am 000000033471.", ""),
        ("coco/000000033471", "I am 000000033471.", ""),
        ("1", "I am 1.", ""),
        ("3", "I am 000000000009.", "no sample has the id '3': this is row 3, counted from 0"),
        ("0", "I am 000000000002.", "no sample has the id '0': this is row 0, counted from 0"),
        (1, "I am 000000033471.", ""),
    ],
)
def test_an_id_is_text_first_and_a_row_number_only_if_nothing_has_it(tmp_path, which, answer, note):
    entry = write_dataset(tmp_path, "coco", COCO)
    found = inspect_row(Rows(path=entry["path"]), which)
    assert (found.row.turns[1][1], found.note) == (answer, note)
    assert not note or inspected_text(found, colour=False).startswith(f"{note}\n")


def test_an_id_with_leading_zeros_is_never_a_row_and_the_nearest_ids_are_named(tmp_path):
    path = write_dataset(tmp_path, "coco", COCO)["path"]
    with pytest.raises(DataError, match="no row or id '000000000001'.*did you mean '1'"):
        inspect_row(Rows(path=path), "000000000001")
    with pytest.raises(DataError, match="did you mean '000000033471'"):
        inspect_row(Rows(path=path), "33471")


def test_the_command_takes_an_id_a_row_or_a_number_of_random_rows(tmp_path, call):
    path = write_dataset(tmp_path, "coco", COCO)["path"]
    assert "I am 000000033471." in call("inspect", path, "--row", "1")[1]
    assert call("inspect", path, "000000000001")[0] == 2
    code, out, _ = call("inspect", path, "--random", "2", "--seed", "3")
    assert code == 0 and out.count("I am ") == 2 and out == call("inspect", path, "--random", "2", "--seed", "3")[1]
    drawn = {call("inspect", path, "--random", "1", "--seed", str(seed))[1] for seed in range(12)}
    assert len(drawn) == 4, "every row can be drawn"
    assert call("inspect", path, "--random", "9", "--json")[1].count('"messages"') == 4
    for words in ([], ["1", "--row", "1"], ["--row", "1", "--random", "2"]):
        assert call("inspect", path, *words)[0] == 2


def test_images_that_cannot_be_used_reject_the_row_that_is_shown(data, tmp_path):
    content = [row(0, "?", "!", skill="s", image="gone.png"), *rows(2)]
    entry = write_dataset(tmp_path, "gone", content)
    assert "is missing" in inspected_text(look(entry, "0"), colour=False)


FLAGGED = {"id": "talk", **TALK, "source": "web", "rating": 3, "picture": "gone.png"}
FLAGGED["conversations"] = [dict(turn) for turn in TALK["conversations"]]
FLAGGED["conversations"][1]["loss"] = False


def test_turns_that_are_not_learnt_and_unused_keys_are_shown(tmp_path):
    path = write_dataset(tmp_path, "flagged", [FLAGGED])["path"]
    told = inspected_text(inspect_row(Rows(path=path), "talk"), colour=False)
    assert re.search(r"assistant \(not learnt\) +4\n", told) and re.search(r"assistant +6\n", told)
    uses = r"unused keys +source, rating \(a number: may be a score\), picture \(looks like an image\)"
    assert re.search(uses, told)
    seen = inspected_text(inspect_row(Rows(path=path), "talk", model=str(BASE_PATH)), colour=False)
    assert "|>4<|end|>" in seen and "[answer: 6<|end|>]" in seen
    assert re.search(r"loss of turn 4 +\d+\.\d+ \(2 tokens\)", seen) and "loss of turn 2" not in seen


def test_losses_are_the_means_of_the_turns_and_together_the_model_s_own_loss(data, base):
    found = look(data, "talk", str(BASE_PATH))
    batch = encode(base, [found.row], [[]])
    with torch.no_grad():
        loss = base.model(**batch.inputs, labels=batch.labels).loss
    assert [loss.turn for loss in found.losses] == [1, 3]
    total = sum(loss.num_tokens for loss in found.losses)
    assert sum(loss.loss * loss.num_tokens for loss in found.losses) / total == pytest.approx(float(loss), rel=1e-5)


def test_what_was_cut_is_counted(data, base):
    found = look(data, "6", str(BASE_PATH))
    assert found.num_cut > 500 and found.num_answer_cut > 0
    assert "of them of answers" in inspected_text(found, colour=False)


def test_a_sample_that_the_model_cannot_use_says_why(tmp_path):
    forged = {"id": "a", "conversations": [{"from": "human", "value": "<|end|>"}, {"from": "gpt", "value": "b"}]}
    found = inspect_row(Rows(path=write_dataset(tmp_path, "forged", [forged])["path"]), "a", model=str(BASE_PATH))
    assert found.problem and found.pieces == ()
    assert found.problem in inspected_text(found, colour=False)


def test_a_page_shows_many_samples_escaped_and_whole(data, tmp_path, call):
    nasty = {"id": "<script>alert(1)</script>", "conversations": [dict(turn) for turn in TALK["conversations"]]}
    nasty["conversations"][0]["value"] = "<img src=x onerror=alert(2)>"
    content = [*rows(4), nasty, row(5, "?", "", skill="s")]
    entry = write_dataset(tmp_path, "many", content)
    page = tmp_path / "page.html"
    words = ("inspect", entry["path"], "--images", entry["images"], "--html", page)
    assert call(*words)[1] == f"wrote {page}: 6 samples\n"
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text and "<img src=x" not in text
    assert text.count("<article>") == 6 and text.count("data:image/jpeg;base64,") == 2
    assert "http" not in text.replace("data:image", "") and "rejected: empty answer in turn 2" in text
    assert call(*words, "--random", "2", "--model", BASE_PATH)[1] == f"wrote {page}: 2 samples\n"
    assert "<mark>" in page.read_text()


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


def test_a_model_folder_without_weights_shows_what_would_be_learnt_and_why_there_is_no_loss(tmp_path):
    folder = write_text_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    data = tmp_path / "data.json"
    turns = [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]
    data.write_text(json.dumps([{"id": "a", "conversations": turns}]), encoding="utf-8")
    found = inspect_row(Rows(path=str(data)), 0, model=str(folder))
    assert [piece.text for piece in found.pieces if piece.is_answer] == ["4<eos>"]
    assert not found.losses and any("loss: not measured" in remark for remark in found.remarks)
