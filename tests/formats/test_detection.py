"""Detection: the format of most rows, rows of another one read in that, ties and unknown layouts refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats import Conversation, Turn, read
from adaptinf.formats.detection import MAX_MESSAGE, Detected, detect, parser_of
from adaptinf.formats.detection import name_of as name_of_parser
from adaptinf.formats.llava import Llava
from adaptinf.registry import dataset_format, scope

LLAVA = {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "A"}]}
MESSAGES = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "B"}]}


def name_of(rows: list[Any]) -> str:
    found = detect("toy.json", rows)
    assert isinstance(found, Detected)
    return found.name


def test_most_of_the_rows_decide() -> None:
    assert name_of([MESSAGES, LLAVA, LLAVA]) == "llava"
    assert name_of([3, {}, {"x": 1}, MESSAGES]) == "messages"


def test_a_row_of_another_known_format_is_read_in_that_and_noted(tmp_path: Path) -> None:
    (tmp_path / "mixed.json").write_text(json.dumps([LLAVA, MESSAGES, LLAVA, {"messages": 3}]))
    first, other, third, bad = read(tmp_path / "mixed.json")
    assert isinstance(first, Sample) and isinstance(other, Sample) and isinstance(third, Sample)
    assert [turn[1] for turn in other.turns] == ["?", "B"]
    assert other.notes == ("row is in the format messages, not in llava as others",)
    assert first.notes == third.notes == ()
    assert isinstance(bad, Rejected) and bad.reason == "the row has no `conversations`; its keys are messages"


def test_a_format_that_was_named_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "mixed.json").write_text(json.dumps([LLAVA, MESSAGES]))
    assert [type(row) for row in read(tmp_path / "mixed.json", "llava")] == [Sample, Rejected]


class Plain:
    """A plug-in that recognises LLaVA's rows too."""

    def sniff(self, row: dict[str, Any]) -> bool:
        return "conversations" in row

    def parse(self, row: dict[str, Any]) -> Conversation:
        return Conversation(turns=[Turn("assistant", ["own"])])

    def render(self, sample: Sample, images: Any) -> dict[str, Any]:
        raise NotImplementedError


class Special(Plain):
    """One with more keys of its own."""

    def own_keys(self, row: dict[str, Any]) -> list[str]:
        return ["conversations", *(key for key in row if key == "special")]


def test_the_format_with_most_keys_of_its_own_reads_a_row_and_a_tie_is_named() -> None:
    with scope():
        dataset_format("special")(Special)
        assert name_of([{**LLAVA, "special": 1}]) == "special"
        with pytest.raises(DataError, match=r"toy\.json could be in the format llava or special; set format: to one"):
            detect("toy.json", [LLAVA])
    with scope():
        dataset_format("plain")(Plain)
        with pytest.raises(DataError, match="llava or plain"):
            detect("toy.json", [LLAVA])


@pytest.mark.parametrize("folder", ["/data", "/" + "very_long_folder/" * 20])
def test_an_unknown_layout_is_one_short_line_with_its_keys_and_the_known_formats(folder: str) -> None:
    with pytest.raises(DataError) as error:
        detect(f"{folder}/toy.json", [{"x": 1, "pairs": [{"q": 1, "a": 2}]}])
    text = str(error.value)
    assert "its first row has x, pairs: [{q, a}]; set columns: {question: ..., answer: ...}" in text
    assert "; known formats: alpaca, lamm, ll" in text
    assert len(text) <= MAX_MESSAGE and "\n" not in text


def test_a_format_that_is_named_is_read_as_the_folder_describes_it() -> None:
    entry = {"formatting": "sharegpt", "columns": {"messages": "chat"}}
    described = parser_of("toy.json", [], format="sharegpt", description=entry)
    assert described.sniff({"chat": LLAVA["conversations"], "images": ["a.png"]})
    assert isinstance(parser_of("toy.json", [], format="llava", description=entry), Llava)


def test_a_table_that_gives_every_row_every_key_says_nothing_by_its_keys() -> None:
    keys = (
        "conversations messages conversation texts instruction output outputs query response prompt completion".split()
    )
    keys += ["image_id", "caption", "chosen", "rejected", "task_type", "src_image", "task_name", "images", "system"]
    empty: dict[str, Any] = dict.fromkeys(keys)
    rows: dict[str, dict[str, Any]] = {
        "llava": LLAVA,
        "messages": MESSAGES,
        "alpaca": {"instruction": "Q", "output": "A"},
        "m3it": {"instruction": "Q", "outputs": "A"},
        "query_response": {"query": "Q", "response": "A"},
        "texts": {"texts": [{"user": "Q", "assistant": "A"}]},
        "mantis": {"conversation": MESSAGES["messages"]},
    }
    for name, row in rows.items():
        assert name_of([{**empty, **row}]) == name
        assert name_of([{**empty, "messages": [], "texts": [], **row}]) == name
    detected = detect("toy.json", [{**empty, **row} for row in rows.values()] + [{**empty, **LLAVA}])
    for row in rows.values():
        assert [turn.role for turn in detected.parse({**empty, **row}).turns] == ["user", "assistant"]


def test_what_reads_a_file_has_a_name() -> None:
    assert name_of_parser(parser_of("toy.json", [LLAVA])) == name_of_parser(Llava()) == "llava"
    assert name_of_parser(parser_of("toy.json", [], columns={"question": "q", "answer": "a"})) == "columns"
    assert name_of_parser(parser_of("toy.json", [], description={})) == "as dataset_info.json says"
