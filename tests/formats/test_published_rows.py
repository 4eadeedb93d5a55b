"""Rows in the shapes that people publish, of our own making: each is recognised and read as its format means it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats import read
from adaptinf.formats.detection import Detected, detect
from adaptinf.formats.minigpt4 import QUESTIONS
from adaptinf.registry import dataset_format

Row = dict[str, Any]


def encoded(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published").resolve()
    (folder / "image").mkdir()
    for name in ("a.png", "b.png", "image/7.jpg"):
        Image.new("RGB", (4, 4), "red").save(folder / name)
    return folder


def found(folder: Path, rows: list[Any], **options: Any) -> list[Sample | Rejected]:
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return list(read(folder / "rows.json", **options))


def sample_of(folder: Path, row: Any, **options: Any) -> Sample:
    (sample,) = found(folder, [row], **options)
    assert isinstance(sample, Sample), sample
    return sample


def llava(*texts: str) -> list[Row]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def said(*texts: Any) -> list[Row]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def block(index: int | None = None, text: str | None = None) -> Row:
    return {"index": index, "text": text, "type": "text" if index is None else "image"}


ASKED = [("user", "<image> Q"), ("assistant", "A")]
TWO = [("user", "<image> <image> Q"), ("assistant", "A")]
PICTURE = [("user", "Picture 1:  <image> Q"), ("assistant", "<img>b</img>")]
TEXT = [("user", "Q"), ("assistant", "A")]

# Name of the format, row, turns as `Sample.turns` has them; where an image stands in the question, a.png is the first.
ROWS: list[tuple[str, Row, list[tuple[str, str]]]] = [
    ("llava", {"id": 1, "image": "a.png", "conversations": llava("<image>\nQ", "A")}, ASKED),
    ("llava", {"image": "a.png", "conversations": said("<image>\nQ", "A")}, ASKED),
    ("llava", {"image": "a.png", "conversations": json.dumps(llava("<image>\nQ", "A"))}, ASKED),
    ("llava", {"image": "a.png", "conversations": {"from": ["human", "gpt"], "value": ["<image>\nQ", "A"]}}, ASKED),
    ("llava", {"conversations": [{"from": "HUMAN", "value": "Q"}, {"from": "Assistant ", "value": "A"}]}, TEXT),
    (
        "llava",
        {"image": None, "conversations": [{"from": "human", "value": "Q"}, {"role": "gpt", "content": "A"}]},
        TEXT,
    ),
    ("llava", {"image": {"path": "a.png", "bytes": None}, "conversations": llava("<image>\nQ", "A")}, ASKED),
    ("llava", {"conversations": llava("Picture 1: <img>a.png</img>\nQ", "<img>b</img>")}, PICTURE),
    ("llava", {"image": '["a.png"]', "conversations": llava("<image>\nQ", "A")}, ASKED),
    ("messages", {"messages": said("Q", "A"), "images": None, "tools": None}, TEXT),
    ("messages", {"messages": json.dumps(said("Q", "A"))}, TEXT),
    (
        "messages",
        {"messages": said([{"type": "image", "text": None}, {"type": "text", "text": "Q"}], "A"), "image": "a.png"},
        ASKED,
    ),
    (
        "messages",
        {"messages": said('[{"type": "image"}, {"type": "text", "text": "Q"}]', "A"), "images": ["a.png"]},
        ASKED,
    ),
    ("messages", {"messages": said([{"image": "a.png"}, {"text": "Q"}], [{"text": "A"}])}, ASKED),
    (
        "messages",
        {"messages": said([{"type": "image_url", "value": "a.png"}, {"type": "text", "value": "Q"}], "A")},
        ASKED,
    ),
    (
        "messages",
        {
            "messages": [
                {"content": [block(1), block(text="Q"), block(0)], "role": "user"},
                {"content": [block(text="A")], "role": "assistant"},
            ],
            "images": ["a.png", "b.png"],
        },
        [("user", "<image> Q <image>"), ("assistant", "A")],
    ),
    ("messages", {"messages": [{"role": "developer", "content": "S"}, *said("Q", "A")]}, [("system", "S"), *TEXT]),
    ("messages", {"prompt": "Q", "completion": "A"}, TEXT),
    ("messages", {"prompt": said("Q"), "completion": [{"role": "assistant", "content": "A"}], "images": []}, TEXT),
    ("sharegpt", {"conversations": llava("<image>Q", "A"), "images": ["a.png"], "system": None, "tools": ""}, ASKED),
    ("sharegpt", {"conversations": llava("Q", "A"), "system": "S", "tools": "[]"}, [("system", "S"), *TEXT]),
    ("swift", {"messages": said("<image>Q", "A"), "images": ["a.png"]}, ASKED),
    ("swift", {"messages": said("Q", "A"), "channel": "math"}, TEXT),
    ("query_response", {"query": "<image>Q", "response": "A", "images": ["a.png"]}, ASKED),
    (
        "query_response",
        {"system": "S", "query": "Q", "response": "A", "history": [["Q1", "A1"], ["Q2", "A2"]]},
        [("system", "S"), ("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2"), *TEXT],
    ),
    ("alpaca", {"instruction": "Q", "input": "", "output": "A"}, TEXT),
    ("alpaca", {"instruction": "Q", "input": "I", "output": "A", "history": None}, [("user", "Q\nI"), TEXT[1]]),
    (
        "alpaca",
        {"instruction": "Q", "output": "A", "history": '[["Q1", "A1"]]'},
        [("user", "Q1"), ("assistant", "A1"), *TEXT],
    ),
    (
        "alpaca",
        {"instruction": "<image>Q", "input": None, "output": 4, "images": ["a.png"]},
        [ASKED[0], ("assistant", "4")],
    ),
    ("texts", {"images": ["a.png", "b.png"], "texts": [{"user": "Q", "assistant": "A", "source": "toy"}]}, TWO),
    (
        "texts",
        {"images": [{"bytes": encoded("red"), "path": None}], "texts": {"user": ["Q"], "assistant": ["A"]}},
        ASKED,
    ),
    (
        "texts",
        {
            "images": None,
            "texts": [{"user": "Q1", "assistant": "A1"}, {"user": "Q", "assistant": "A"}],
            "relevance_ratings": [5, 3],
        },
        [("user", "Q1"), ("assistant", "A1"), *TEXT],
    ),
    ("m3it", {"instruction": "Q", "inputs": "", "image_base64_str": [encoded("red")], "outputs": "A"}, ASKED),
    (
        "m3it",
        {"instruction": "Q", "inputs": "I", "image_base64_str": [encoded("red"), encoded("blue")], "outputs": "A"},
        [("user", "<image> <image> Q\nI"), TEXT[1]],
    ),
    ("m3it", {"instruction": "Q", "inputs": None, "image_base64_str": None, "outputs": "A"}, TEXT),
    ("mantis", {"id": "x", "images": ["a.png", "b.png"], "conversation": said("<image><image>Q", "A")}, TWO),
    ("mantis", {"images": [{"bytes": None, "path": "a.png"}], "conversation": said("<image>Q", "A")}, ASKED),
    (
        "lamm",
        {"id": "1", "image": "a.png", "conversations": llava("Q", "A"), "task_type": "detail", "src_image": "coco"},
        ASKED,
    ),
    (
        "vision_flan",
        {"id": "1", "image": "a.png", "task_name": "T", "conversations": llava("Q\n<image>", "A")},
        [("user", "Q <image>"), TEXT[1]],
    ),
    ("minicpm", {"id": "0", "image": {"<image_00>": "a.png"}, "conversations": said("<image_00>\nQ", "A")}, ASKED),
    ("minicpm", {"image": {"<image>": "a.png"}, "conversations": llava("<image>\nQ", "A")}, ASKED),
    (
        "minicpm",
        {
            "image": {"<image_00>": "a.png", "<image_01>": "b.png"},
            "conversations": said("See <image_01> and <image_00>", "A", "<image_01>?", "A"),
        },
        [("user", "See  <image>  and  <image>"), TEXT[1], ("user", "<image> ?"), TEXT[1]],
    ),
]


@pytest.mark.parametrize(("name", "row", "turns"), ROWS)
def test_a_published_row_is_recognised_and_read(
    folder: Path, name: str, row: Row, turns: list[tuple[str, str]]
) -> None:
    detected = detect("rows.json", [row])
    assert isinstance(detected, Detected) and detected.name == name
    sample = sample_of(folder, row)
    assert [*sample.turns] == turns
    assert sample.notes == () and sample.unlearnt == ()
    assert len(sample.images) == sum(text.count("<image>") for _, text in turns)
    assert sample_of(folder, row, format=name) == sample


def test_every_built_in_format_has_a_published_row() -> None:
    assert {name for name, _, _ in ROWS} | {"minigpt4"} == set(dataset_format.names())


def test_images_are_those_that_tags_and_numbers_name(folder: Path) -> None:
    numbered = next(row for _, row, _ in ROWS if "index" in str(row.get("messages")))
    tagged = ROWS[-1][1]
    assert [image.name for image in sample_of(folder, numbered).images if isinstance(image, Path)] == ["b.png", "a.png"]
    names = [image.name for image in sample_of(folder, tagged).images if isinstance(image, Path)]
    assert names == ["b.png", "a.png", "b.png"]


def test_a_caption_without_a_question_gets_the_same_one_whenever_it_is_read(folder: Path) -> None:
    row = {"image_id": "7", "caption": "A."}
    (folder / "filter_cap.json").write_text(json.dumps({"annotations": [row]}))
    (sample,) = read(folder / "filter_cap.json")
    assert isinstance(sample, Sample) and sample.id == "filter_cap/7"
    assert sample.images == (folder / "image" / "7.jpg",)
    question = sample.turns[0][1].removeprefix("<image> ")
    assert question in QUESTIONS and sample.turns[1] == ("assistant", "A.")
    assert sample.notes == (f"the row has no question: {question!r} was put in",)
    assert sample_of(folder, row).messages == sample.messages
    plugin = dataset_format["minigpt4"]()
    asked = {plugin.parse({"image_id": number, "caption": "A."}).turns[0].pieces[0] for number in range(100)}
    assert len(asked) == len(QUESTIONS)


def test_tasks_of_datasets_that_name_them_are_kept(folder: Path) -> None:
    by_name = {name: row for name, row, _ in ROWS}
    assert sample_of(folder, by_name["lamm"]).meta == {"task": "detail"}
    assert sample_of(folder, by_name["vision_flan"]).meta == {"task": "T"}


def test_fewer_tags_than_images_are_put_first_and_noted(folder: Path) -> None:
    sample = sample_of(folder, {"images": ["a.png", "b.png"], "conversation": said("Q <image>", "A")})
    assert sample.turns[0] == ("user", "<image> Q  <image>")
    assert sample.notes == ("1 image has no image tag: put before the first user turn",)


@pytest.mark.parametrize(
    "flag",
    [
        {"loss": False},
        {"loss": "false"},
        {"loss_scale": 0.0},
        {"loss_weight": 0},
        {"weight": 0},
        {"train": False},
        {"loss_mask": 0},
    ],
)
def test_answers_whose_loss_is_off_are_not_learnt_in_any_format(folder: Path, flag: Row) -> None:
    turns, pair = said("Q1", "A1", "Q", "A"), {"user": "Q", "assistant": "A"}
    turns[1] |= flag
    rows: list[Row] = [{key: turns} for key in ("messages", "conversations", "conversation")] + [
        {"texts": [{**pair, **flag}, pair]}
    ]
    for row in rows:
        sample = sample_of(folder, row)
        assert sample.unlearnt == (1,) and sample.unread == ()


def test_a_prompts_own_answers_are_not_learnt(folder: Path) -> None:
    row = {"prompt": said("Q1", "A1", "Q"), "completion": [{"role": "assistant", "content": "A"}]}
    assert sample_of(folder, row).unlearnt == (1,)


PREFERENCE = "preference data are not supported; leave the column out"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": said("Q", "A"), "rejected_response": "B"}, f"the row has `rejected_response`: {PREFERENCE}"),
        ({"query": "Q", "response": "A", "rejected_response": "B"}, f"the row has `rejected_response`: {PREFERENCE}"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, f"the row has `chosen`: {PREFERENCE}"),
        ({"prompt": "Q", "completion": "A", "label": False}, f"the row has `label`, true or false: {PREFERENCE}"),
        (
            {"messages": said("Q", "A"), "channel": "x", "label": True},
            f"the row has `label`, true or false: {PREFERENCE}",
        ),
        ({"conversations": llava("Q", "A"), "kto_tag": False}, f"the row has `kto_tag`: {PREFERENCE}"),
        ({"instruction": "Q", "output": ["A", "B"]}, "output is ['A', 'B'], not text"),
        (
            {"conversations": llava("Q", "A"), "images": ["a.png"], "videos": ["v.mp4"]},
            "video and audio are not supported",
        ),
        (
            {"messages": said("<video>Q", "A"), "channel": "x"},
            "video and audio are not supported yet: <video> in turn 1",
        ),
        (
            {"messages": [*said("Q"), {"role": "tool_call", "content": "{}"}]},
            "turn 2 has the role 'tool_call': calls of",
        ),
        (
            {"messages": said("Where is <bbox>?", "A"), "objects": {"bbox": [[1, 2, 3, 4]]}},
            "a text has <bbox>: filling it",
        ),
        (
            {"messages": [*said("Q"), {"role": "assistant", "content": "A", "mask": 1}]},
            "turn 2 has `mask`, which is not read",
        ),
        ({"messages": [*said("Q"), {"role": "assistant", "content": "A", "loss_scale": 0.5}]}, "only 0 and 1"),
        ({"texts": ["Q"]}, "pair 1 of texts is 'Q', not an object"),
        ({"texts": [{"user": "Q", "assistant": None}]}, "assistant is None, not text"),
        (
            {"query": "Q", "response": "A", "history": [["Q"]]},
            "history holds ['Q'], not a pair of a question and an answer",
        ),
        ({"task_type": "x", "pcl": "p.npy", "conversations": llava("Q", "A")}, "point clouds are not supported"),
        (
            {"image": {"<image_00>": "a.png"}, "conversations": llava("<image_01> Q", "A")},
            "<image_01> in turn 1 names no image",
        ),
        (
            {"messages": said([{"type": "image", "index": 3}], "A"), "images": ["a.png"]},
            "a turn shows image number 3, but the row has 1 image",
        ),
    ],
)
def test_what_a_row_asks_for_and_cannot_have_is_named(folder: Path, row: Row, expected: str) -> None:
    format = "texts" if row.get("texts") == ["Q"] else None
    (result,) = found(folder, [row], format=format)
    assert isinstance(result, Rejected) and expected in result.reason


SHAREGPT = {
    "formatting": "sharegpt",
    "columns": {"messages": "chat", "images": "pics", "system": "rules"},
    "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "person", "assistant_tag": "machine"},
}


def turns_of(description: Row, row: Row) -> list[tuple[str, str]]:
    conversation = detect("rows.json", [row], description).parse(row)
    return [(turn.role, "".join(map(str, turn.pieces))) for turn in conversation.turns]


def test_an_entry_of_dataset_info_names_columns_and_roles() -> None:
    chat = [{"who": "person", "says": "Q"}, {"who": "machine", "says": "A", "loss": False}]
    row = {"chat": chat, "pics": ["a.png"], "rules": "S", "more": 1}
    conversation = detect("rows.json", [row], SHAREGPT).parse(row)
    assert [(turn.role, turn.pieces, turn.is_learnt) for turn in conversation.turns] == [
        ("user", ["Q"], True),
        ("assistant", ["A"], False),
    ]
    assert conversation.images == ["a.png"] and conversation.meta == {"more": 1, "system": "S"}
    openai = {
        "formatting": "openai",
        "columns": {"messages": "messages"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user"},
    }
    assert turns_of(openai, {"messages": said("Q", "A")}) == TEXT
    assert turns_of({"formatting": "sharegpt"}, {"conversations": llava("Q", "A")}) == TEXT
    assert turns_of({}, {"instruction": "Q", "input": "I", "output": "A"}) == [("user", "Q\nI"), ("assistant", "A")]
    renamed = {"columns": {"prompt": "q", "response": "a", "history": "before", "query": None}}
    row = {"q": "Q", "a": "A", "before": [["Q1", "A1"]]}
    assert turns_of(renamed, row) == [("user", "Q1"), ("assistant", "A1"), *TEXT]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"ranking": True}, "dataset_info.json has ranking: true for rows.json: preference data are not supported"),
        ({"columns": {"kto_tag": "label"}}, "has the column kto_tag for rows.json: preference data"),
        ({"formatting": "parrot"}, "has formatting 'parrot', not alpaca or sharegpt"),
        ({"columns": ["a"]}, "has columns ['a'] for rows.json, not an object of names"),
    ],
)
def test_an_entry_that_cannot_be_followed_is_one_line(description: Row, expected: str) -> None:
    with pytest.raises(DataError) as error:
        detect("rows.json", [], description)
    assert expected in str(error.value)


def test_a_column_that_an_entry_names_and_a_row_lacks_is_named() -> None:
    from adaptinf.formats import BadRow

    parser = detect("rows.json", [], SHAREGPT)
    assert not parser.sniff({"conversations": 1})
    with pytest.raises(BadRow, match="the row has no `chat`; its keys are x"):
        parser.parse({"x": 1})
