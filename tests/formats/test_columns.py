"""Columns and keys beside the conversation: used, or the row is rejected by name, or counted; never dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptinf.data import Rejected, Sample
from adaptinf.formats import read

Row = dict[str, Any]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"city": {"type": "string"}}}}


def llava(*texts: str, flags: dict[int, Row] | None = None, **others: Any) -> Row:
    texts = texts or ("Hello.", "Arr!")
    turns = [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]
    for number, keys in (flags or {}).items():
        turns[number] |= keys
    return {"conversations": turns, **others}


def messages(row: Row) -> Row:
    names = {"human": "user", "gpt": "assistant", "system": "system"}
    turns = [
        {
            "role": names[turn["from"]],
            "content": turn["value"],
            **{key: value for key, value in turn.items() if key not in ("from", "value")},
        }
        for turn in row["conversations"]
    ]
    return {"messages": turns, **{key: value for key, value in row.items() if key != "conversations"}}


@pytest.fixture(params=["llava", "messages"])
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return the only row of a file, in both formats."""

    def of(row: Row) -> Sample | Rejected:
        written = row if request.param == "llava" else messages(row)
        (tmp_path / "one.json").write_text(json.dumps([written]))
        (only,) = read(tmp_path / "one.json")
        return only

    return of


@pytest.mark.parametrize("key", ["system", "system_prompt"])
def test_a_system_column_becomes_the_first_turn(found: Any, key: str) -> None:
    sample = found(llava(**{key: "Answer like a pirate."}))
    assert sample.turns[0] == ("system", "Answer like a pirate.")
    assert len(sample.turns) == 3 and sample.unread == () and key not in sample.meta


def test_a_system_column_beside_a_system_turn_is_counted_unless_it_says_the_same(found: Any) -> None:
    turns = [{"from": "system", "value": "Be brief."}, *llava()["conversations"]]
    same = found({"conversations": turns, "system": "Be brief."})
    other = found({"conversations": turns, "system": "Be long."})
    assert same.turns[0] == other.turns[0] == ("system", "Be brief.")
    assert (same.unread, other.unread) == ((), ("system",))


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_an_empty_system_column_adds_no_turn(found: Any, value: Any) -> None:
    assert len(found(llava(system=value)).turns) == 2


def test_a_system_column_that_is_not_text_rejects_the_row(found: Any) -> None:
    assert found(llava(system=["Be brief."])).reason == "system is ['Be brief.'], not text"


@pytest.mark.parametrize("value", [[WEATHER], json.dumps([WEATHER]), [json.dumps(WEATHER)], WEATHER])
def test_tools_are_read_as_schemas_or_as_json_text(found: Any, value: Any) -> None:
    sample = found(llava(tools=value))
    assert sample.tools == (WEATHER,) and sample.unread == ()


@pytest.mark.parametrize("value", [None, "", "[]", []])
def test_no_tools_are_no_tools(found: Any, value: Any) -> None:
    assert found(llava(tools=value)).tools == ()


@pytest.mark.parametrize("value", ["weather", 3, [3], "[3]", "{"])
def test_tools_of_another_kind_reject_the_row(found: Any, value: Any) -> None:
    assert "neither a list of JSON schemas nor JSON text of one" in found(llava(tools=value)).reason


def test_every_key_that_nothing_reads_is_named(found: Any) -> None:
    sample = found(
        llava(source="web", height=None, skill="a", objects={"a": 1}, flags={1: {"name": "Bob", "thought": ""}})
    )
    assert [key.rpartition(".")[2] for key in sample.unread] == ["source", "objects", "name"]


@pytest.mark.parametrize("flag", [{"weight": 0}, {"loss": False}, {"train": False}, {"weight": 0.0}, {"loss": "false"}])
def test_a_turn_with_its_loss_switched_off_is_not_learnt(found: Any, flag: Row) -> None:
    sample = found(llava("2 + 2?", "5", "Wrong.", "4", flags={1: flag, 3: dict.fromkeys(flag, 1)}))
    assert sample.unlearnt == (1,) and sample.unread == ()
    with_system = found(llava("2 + 2?", "5", "Wrong.", "4", flags={1: flag}, system="Think."))
    assert with_system.unlearnt == (2,)


def test_flags_that_change_nothing_are_silent_and_those_that_cannot_be_followed_are_named(found: Any) -> None:
    quiet = found(llava(flags={0: {"weight": 0}, 1: {"weight": 1.0, "loss": None}}))
    assert (quiet.unlearnt, quiet.unread) == ((), ())
    asked = found(llava(flags={0: {"train": True}}))
    assert [key.rpartition(".")[2] for key in asked.unread] == ["train"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({1: {"weight": 0}}, "no answer to learn"),
        ({1: {"weight": 0.5}}, "weight of turn 2 is 0.5: only 0 and 1"),
        ({1: {"loss": "some"}}, "loss of turn 2 is 'some'"),
        ({1: {"weight": 1, "train": False}}, "weight and train of turn 2 contradict each other"),
        ({1: {"tool_calls": [{"name": "weather"}]}}, "turn 2 has `tool_calls`"),
        ({1: {"function_call": {"name": "weather"}}}, "turn 2 has `function_call`"),
    ],
)
def test_flags_and_calls_that_cannot_be_followed_reject_the_row(found: Any, flags: Any, reason: str) -> None:
    assert reason in found(llava(flags=flags)).reason


@pytest.mark.parametrize("key", ["video", "videos", "audio", "audios"])
def test_a_row_with_a_video_or_audio_is_rejected(found: Any, key: str) -> None:
    expected = f"video and audio are not supported yet: the row has `{key}`"
    assert found(llava(**{key: "v/1.mp4"})).reason == expected
    assert found(llava(**{key: ["v/1.mp4"]})).reason == expected
    for nothing in (None, "", [], [""], {"path": None}, False):
        assert isinstance(found(llava(**{key: nothing})), Sample)


@pytest.mark.parametrize("tag", ["<video>", "<audio>"])
def test_a_tag_of_a_video_or_audio_rejects_the_row_except_in_an_answer(found: Any, tag: str) -> None:
    reason = found(llava(f"{tag}\nWhat happens?", "A cat jumps.")).reason
    assert reason == f"video and audio are not supported yet: {tag} in turn 1"
    assert isinstance(found(llava("How do I show a film in HTML?", f"With {tag}.")), Sample)


@pytest.mark.parametrize("kind", ["video", "audio", "input_audio", "video_url"])
def test_a_block_of_a_video_or_audio_rejects_the_row(tmp_path: Path, kind: str) -> None:
    row = {"messages": [{"role": "user", "content": [{"type": kind}]}, {"role": "assistant", "content": "Yes."}]}
    (tmp_path / "one.json").write_text(json.dumps([row]))
    (rejected,) = read(tmp_path / "one.json")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == f"video and audio are not supported yet: a block of type '{kind}' in turn 1"


MISSING: list[Any] = [
    "",
    [""],
    [None],
    {},
    "nan",
    "NaN",
    " ",
    None,
    [],
    ["", None],
    "None",
    {"path": None, "bytes": None},
]


@pytest.mark.parametrize("key", ["image", "images"])
@pytest.mark.parametrize("value", [*MISSING, float("nan")], ids=repr)
def test_values_that_say_no_image_are_no_image(found: Any, key: str, value: Any) -> None:
    assert found(llava(**{key: value})).images == ()
    assert "1 image tag but 0 images" in found(llava("<image>\nWhat?", "This.", **{key: value})).reason


def test_the_value_that_says_no_image_is_named_beside_a_tag(found: Any) -> None:
    assert found(llava("<image>", "This.", image="nan")).reason == "1 image tag but 0 images ('nan' means no image)"
