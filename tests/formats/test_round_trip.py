"""What a format writes is read as the same samples again, and texts come back as they came in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptinf.data import Block, Message, Sample
from adaptinf.formats import read, write
from adaptinf.formats.tags import tagged_texts
from adaptinf.formats.writing import format_to_write
from adaptinf.registry import dataset_format

WRITTEN = [name for name in dataset_format.names() if hasattr(dataset_format[name], "render")]
IMAGES = ("a.png", "b.png", "c.png")
LOOKALIKES = (
    '[{"type": "text", "text": "x"}]',
    '[{"type": "image"}]',
    '[{"from": "human", "value": "x"}]',
    '[["q", "a"]]',
    "[1, 2]",
    '{"a": 1}',
    "null",
    "nan",
    "",
    " ",
    "\n",
    "a\n",
    "\nb",
    "<bbox>",
    "<image_00>",
    "<Image>",
    "< image >",
    "é́ 👩‍👩‍👧 这是",
    "\u2028",
    "\x00",
)
TEXTS = st.sampled_from(LOOKALIKES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ASKED = TEXTS.filter(lambda text: not any(tag in text for tag in ("<image>", "<video>", "<audio>")))
ANSWERS = ASKED.filter(lambda text: bool(text.strip()))
SCHEMAS = st.lists(st.fixed_dictionaries({"name": st.text(max_size=5), "parameters": st.just({"n": [1]})}), max_size=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("round").resolve()
    for name in IMAGES:
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def joined(pieces: list[str | None]) -> list[Block]:
    """Return pieces as blocks as readers make them: adjacent texts are one, empty ones are none; None is an image."""
    blocks: list[Block] = []
    for piece in pieces:
        if piece is None:
            blocks.append({"type": "image", "text": None})
        elif piece and blocks and blocks[-1]["type"] == "text":
            blocks[-1] = {"type": "text", "text": (blocks[-1]["text"] or "") + piece}
        elif piece:
            blocks.append({"type": "text", "text": piece})
    return blocks


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    roles = ["user", "assistant"] * draw(st.integers(1, 3))
    if draw(st.booleans()):
        roles = draw(st.lists(st.sampled_from(["user", "assistant", "system"]), max_size=3)) + ["user", "assistant"]
    contents: dict[str, st.SearchStrategy[Any]] = {
        "user": st.lists(st.none() | ASKED, max_size=4),
        "system": st.lists(ASKED, min_size=1, max_size=1),
        "assistant": st.lists(ANSWERS, min_size=1, max_size=1),
    }
    messages = tuple(Message(role=role, content=joined(draw(contents[role]))) for role in roles)
    answers = [number for number, role in enumerate(roles) if role == "assistant"]
    num_images = sum(block["type"] == "image" for message in messages for block in message["content"])
    names = draw(st.lists(st.sampled_from(IMAGES), min_size=num_images, max_size=num_images))
    meta = draw(st.fixed_dictionaries({}, optional={"skill": ANSWERS, "task": ANSWERS}))
    return Sample(
        id=f"toy/{draw(st.uuids())}",
        source="toy",
        messages=messages,
        images=tuple(map(Path, names)),
        meta=meta,
        unlearnt=tuple(number for number in answers[:-1] if draw(st.booleans())),
        tools=tuple(draw(SCHEMAS)),
    )


@pytest.mark.parametrize("fits", [False, True])
@pytest.mark.parametrize("format", WRITTEN)
@given(written=st.lists(samples(), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_samples_come_back_equal(folder: Path, format: str, fits: bool, written: list[Sample]) -> None:
    placed = [replace(sample, images=tuple(folder / str(path) for path in sample.images)) for sample in written]
    kind: Any = format_to_write(format)
    write(placed, folder / "out.jsonl", kind.fitting(placed) if fits and hasattr(kind, "fitting") else format)
    for named in (format, None):
        back = list(read(folder / "out.jsonl", named, source="toy"))
        assert back == placed
        assert [sample.notes for sample in back if isinstance(sample, Sample)] == [()] * len(placed)


TAGGED = st.lists(ASKED | st.sampled_from(["<image>", "\n<image>\n", " <image> ", "<image>\n", "\n"]), max_size=5)


@pytest.mark.parametrize("format", WRITTEN)
@given(pieces=st.lists(TAGGED, min_size=1, max_size=2))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_texts_come_back_with_their_tags_as_they_came_in(folder: Path, format: str, pieces: list[list[str]]) -> None:
    texts = ["".join(parts) for parts in pieces]
    turns = [turn for text in texts for turn in ({"from": "human", "value": text}, {"from": "gpt", "value": "A"})]
    num_images = sum(text.count("<image>") for text in texts)
    (folder / "in.json").write_text(json.dumps([{"image": ["a.png"] * num_images, "conversations": turns}]))
    (sample,) = read(folder / "in.json")
    assert isinstance(sample, Sample)
    assert tagged_texts(sample)[::2] == texts
    write([sample], folder / "tags.jsonl", format)
    (back,) = read(folder / "tags.jsonl")
    assert isinstance(back, Sample)
    assert tagged_texts(back) == tagged_texts(sample)
