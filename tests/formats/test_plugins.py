"""Every registered format follows the same rules; llava and messages in particular."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptinf.data import Block, Message, Rejected, Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import read, write
from adaptinf.formats.columns import MEDIA_KEYS, REFUSED_KEYS, SYSTEM_KEYS, TOOLS_KEY
from adaptinf.formats.sharegpt import Sharegpt
from adaptinf.registry import dataset_format

IMAGES = ("a.png", "b.png", "c.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data").resolve()
    for name in IMAGES:
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: "<image>" not in text
)
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20).filter(
    lambda text: "<image>" not in text
)
# An image in a column that is not read rejects its row.
OTHER_TEXTS = TEXTS.filter(lambda text: text not in IMAGES)
META = st.dictionaries(OTHER_TEXTS, st.none() | st.integers() | OTHER_TEXTS | st.lists(OTHER_TEXTS))
RESERVED = {"id", "uid", "question_id", "__key__", "image", "images", "conversations", "messages", "skill", "task"}
RESERVED |= {*SYSTEM_KEYS, *MEDIA_KEYS, *REFUSED_KEYS, TOOLS_KEY}


def text(value: str) -> Block:
    return {"type": "text", "text": value}


@st.composite
def user_turns(draw: st.DrawFn) -> Message:
    blocks: list[Block] = []
    for piece in draw(st.lists(st.none() | TEXTS, max_size=4)):
        if piece is None:
            blocks.append({"type": "image", "text": None})
        elif not blocks or blocks[-1]["type"] == "image":
            blocks.append(text(piece))
    return {"role": "user", "content": blocks}


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    messages: list[Message] = []
    for user in draw(st.lists(user_turns(), min_size=1, max_size=3)):
        answer = draw(TEXTS.filter(lambda value: bool(value.strip())))
        messages += [user, {"role": "assistant", "content": [text(answer)]}]
    num_images = sum(block["type"] == "image" for message in messages for block in message["content"])
    names = draw(st.lists(st.sampled_from(IMAGES), min_size=num_images, max_size=num_images))
    meta = {key: value for key, value in draw(META).items() if key not in RESERVED} | {"skill": draw(TEXTS)}
    return Sample(
        id=f"toy/{draw(IDS)}", source="toy", messages=tuple(messages), images=tuple(map(Path, names)), meta=meta
    )


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("format", ["llava", "messages"])
@given(written=st.lists(samples(), min_size=1, max_size=3, unique_by=lambda sample: sample.id))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_is_read_again(folder: Path, written: list[Sample], format: str, suffix: str) -> None:
    placed = [
        Sample(**{**vars(sample), "images": tuple(folder / path for path in sample.images)}) for sample in written
    ]
    assert write(iter(placed), folder / f"out{suffix}", format) == len(placed)
    assert list(read(folder / f"out{suffix}", source="toy")) == placed


@pytest.mark.parametrize("format", dataset_format.names())
def test_every_format_sniffs_and_parses_anything_without_a_crash(folder: Path, format: str) -> None:
    plugin = dataset_format[format]()
    odd: list[Any] = [{}, {"messages": 3}, {"conversations": [3]}, {"messages": [[]]}, {"image": {}}]
    assert not any(plugin.sniff(row) for row in odd)
    (folder / "odd.json").write_text(json.dumps(odd))
    assert [type(row) for row in read(folder / "odd.json", format)] == [Rejected] * len(odd)


def sample_of(folder: Path, row: Any) -> Sample | Rejected:
    (folder / "one.json").write_text(json.dumps([row]))
    (found,) = read(folder / "one.json")
    return found


def messages_row(content: Any, **others: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "ok"}], **others}


@pytest.mark.parametrize(
    ("row", "names", "texts"),
    [
        (messages_row("hi"), [], ["hi"]),
        (messages_row("hi", images=["a.png"]), ["a.png"], [None, "hi"]),
        (messages_row("hi <image> there", image="a.png"), ["a.png"], ["hi ", None, " there"]),
        (messages_row([{"type": "text", "text": "x"}, {"type": "image"}], images=["a.png"]), ["a.png"], ["x", None]),
        (messages_row([{"type": "image_url", "image_url": {"url": "b.png"}}]), ["b.png"], [None]),
        (
            messages_row([{"type": "image", "path": "b.png"}, {"type": "image"}], images=["a.png"]),
            ["b.png", "a.png"],
            [None, None],
        ),
        (
            messages_row([{"type": "image", "url": "b.png"}, {"type": "image", "image": "c.png"}]),
            ["b.png", "c.png"],
            [None, None],
        ),
        (messages_row([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), [], ["ab"]),
        (messages_row("hi", images=[{"path": "a.png", "bytes": None}]), ["a.png"], [None, "hi"]),
    ],
)
def test_all_ways_to_write_images_in_messages(
    folder: Path, row: Any, names: list[str], texts: list[str | None]
) -> None:
    sample = sample_of(folder, row)
    assert isinstance(sample, Sample), sample
    assert [path.name for path in sample.images] == names
    assert [block["text"] for block in sample.messages[0]["content"]] == texts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}], "not a local file"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}], "cannot be decoded"),
        ([{"type": "image"}], "1 image tag but 0 images"),
        ([{"type": "file", "path": "a.pdf"}], "neither a text nor an image"),
        ([{"type": "text", "text": None}], "text block of turn 1 holds None"),
        (None, "content of turn 1 is None"),
    ],
)
def test_blocks_that_cannot_be_used_are_named(folder: Path, content: Any, expected: str) -> None:
    rejected = sample_of(folder, messages_row(content))
    assert isinstance(rejected, Rejected)
    assert expected in rejected.reason


@pytest.mark.parametrize("role", ["tool", "function_call", "observation", "TOOL"])
def test_a_turn_of_a_tool_is_named(folder: Path, role: str) -> None:
    rejected = sample_of(folder, {"messages": [{"role": "user", "content": "hi"}, {"role": role, "content": "3"}]})
    assert isinstance(rejected, Rejected)
    assert rejected.reason == f"turn 2 has the role {role!r}: calls of tools are not supported yet"


def plain(value: str, **others: Any) -> Sample:
    messages: tuple[Message, ...] = (
        {"role": "user", "content": [text(value)]},
        {"role": "assistant", "content": [text("ok")]},
    )
    return Sample(id="toy/1", source="toy", messages=messages, **others)


def test_images_beside_the_file_get_relative_paths_and_others_absolute_ones(folder: Path, tmp_path: Path) -> None:
    sample = sample_of(folder, messages_row("<image>", image="a.png"))
    assert isinstance(sample, Sample)
    for file, expected in [(folder / "near.json", "a.png"), (tmp_path / "far.json", str(folder / "a.png"))]:
        write([sample], file, "llava")
        assert json.loads(file.read_text())[0]["image"] == expected


def test_a_literal_tag_is_not_written_as_if_it_were_an_image(tmp_path: Path) -> None:
    for format in ("llava", "messages"):
        with pytest.raises(DataError, match="toy/1 has the literal text <image> in turn 1"):
            write([plain("what does <image> mean?")], tmp_path / "a.json", format)
        with pytest.raises(DataError, match="literal text '<img>a.png</img>' in turn 1"):
            write([plain("see <img>a.png</img>")], tmp_path / "a.json", format)
    assert not (tmp_path / "a.json").exists()


def test_a_format_that_is_only_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format 'm3it' is only read; formats that are written: llava, messages"):
        write([], tmp_path / "a.json", "m3it")


def test_a_file_for_llama_factory_names_the_columns_that_rows_have() -> None:
    (entry,) = Sharegpt(with_images=False).companions("data.jsonl", with_tools=True)["dataset_info.json"].values()
    assert (entry["file_name"], entry["columns"]) == (
        "data.jsonl",
        {"messages": "conversations", "tools": "tools"},
    )


def test_other_suffixes_are_refused_and_nothing_is_a_list_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"written as \.json, \.jsonl or \.parquet"):
        write([], tmp_path / "a.csv", "llava")
    assert write([], tmp_path / "a.json", "llava") == 0
    assert list(read(tmp_path / "a.json")) == []
