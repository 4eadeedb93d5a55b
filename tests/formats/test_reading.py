"""Reading: every row is yielded once, as a sample or as rejected with the reason."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptinf.data import Rejected, Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import Conversation, Turn, plain, read
from adaptinf.registry import dataset_format, scope

Row = dict[str, Any]


def llava(question: str = "What?", answer: str = "This.", **others: Any) -> Row:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}], **others}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset folder `data` with the images a.jpg and b.png, and an image beside the folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (folder / "a.jpg", folder / "b.png", tmp_path / "x.png"):
        Image.new("RGB", (32, 24), "red").save(path)
    return folder


def read_rows(folder: Path, rows: Sequence[Any], **options: Any) -> list[Sample | Rejected]:
    (folder / "toy.json").write_text(json.dumps(rows))
    return list(read(folder / "toy.json", **options))


def one_sample(folder: Path, row: Any) -> Sample:
    (found,) = read_rows(folder, [row], format="llava" if "conversations" in row else "messages")
    assert isinstance(found, Sample), found
    return found


def reason(folder: Path, row: Any) -> str:
    rejected, sound = read_rows(folder, [row, llava()], format="llava")
    assert isinstance(rejected, Rejected), rejected
    assert isinstance(sound, Sample), "a bad row must not touch the next one"
    assert (rejected.file, rejected.row) == (str(folder / "toy.json"), 0)
    return rejected.reason


def test_a_whole_row_becomes_a_sample(folder: Path) -> None:
    sample = one_sample(folder, llava("<image>\nWhat?", id=7, image="a.jpg", skill="colour", task=3, height=24))
    assert sample == Sample(
        id="toy/7",
        source="toy",
        messages=(
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "This."}]},
        ),
        images=(folder.resolve() / "a.jpg",),
        meta={"skill": "colour", "task": "3", "height": 24},
    )


def truncated(folder: Path) -> None:
    path = folder / "a.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def linked_outside(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "x.png")


def looped(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "link.png")


def nothing(folder: Path) -> None:
    """Prepare nothing."""


@pytest.mark.parametrize(
    ("image", "prepare", "expected"),
    [
        ("none.jpg", nothing, "image 'none.jpg' is missing"),
        ("a.jpg", truncated, "image 'a.jpg' cannot be decoded"),
        ("../x.png", nothing, "is outside of the image folder"),
        ("../../x.png", nothing, "'../../x.png' is outside of the image folder"),
        ("b.png/../../x.png", nothing, "is outside of the image folder"),
        ("/etc/passwd", nothing, "'/etc/passwd' is outside of the image folder"),
        ("link.png", looped, "image 'link.png'"),
        ("", nothing, "1 image tag but 0 images ('' means no image)"),
        ("a\0.jpg", nothing, "image"),
        ("x" * 5000, nothing, "image"),
        ("toy.json", nothing, "image 'toy.json' is JSON, not an image of pixels"),
        ("https://example.org/a.jpg", nothing, "is not a local file"),
        ("data:image/png;base64,AAAA", nothing, "image of 3 bytes in the row cannot be decoded (unknown format)"),
        (7, nothing, "image 7 is not a path"),
        ([["a.jpg"]], nothing, "is not a path"),
    ],
)
def test_a_bad_image_rejects_its_row(folder: Path, image: Any, prepare: Callable[[Path], None], expected: str) -> None:
    prepare(folder)
    assert expected in reason(folder, llava("<image>\nWhat?", image=image))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (llava("<image> <image>", image="a.jpg"), "2 image tags but 1 image"),
        (llava("<image>"), "1 image tag but 0 images"),
        (llava(answer=" \n"), "empty answer in turn 2"),
        (llava(answer="see <image>", image="a.jpg"), "<image> in turn 2, a turn of the assistant"),
        ({"conversations": [{"from": "bing", "value": ""}]}, "unknown role 'bing' in turn 1"),
        (
            llava() | {"conversations": [*llava()["conversations"], {"from": None, "value": ""}]},
            "unknown role None in turn 3",
        ),
        ({"conversations": [{"from": "human", "value": "hi"}]}, "no assistant turn"),
        ({"conversations": []}, "no assistant turn"),
        ({"conversations": "hi"}, "conversations is 'hi', not a list"),
        ({"conversations": ["hi"]}, "turn 1 is 'hi', not an object"),
        ({"conversations": [{"from": "gpt", "value": 3}]}, "value of turn 1 is 3, not text"),
        ({"conversations": [{"from": "gpt", "value": "hi"}], "image": "a.jpg"}, "no user turn"),
        ({}, "the row has no `conversations`; its keys are none"),
        ({"text": "hi"}, "the row has no `conversations`; its keys are text"),
        ({"conversations": None}, "conversations is None"),
        ({"conversations": [{"who": "user", "content": "hi"}]}, "turn 1 has no `from`; expected from and value"),
        ({"conversations": [{"role": "user", "content": "hi"}]}, "no assistant turn"),
        (llava(id=[1]), "id is [1]"),
        (llava(id=True), "id is True"),
        (llava(image="a.jpg", images=["b.png"]), "image and images are both given"),
        (llava("\ud800"), "half a surrogate pair"),
        (17, "row is 17, not an object"),
        (None, "row is None, not an object"),
        ([3], "row is [3], not an object"),
        ([llava(), 3], "not an object"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(folder: Path, row: Any, expected: str) -> None:
    assert expected in reason(folder, row)


def test_missing_tags_are_put_before_the_first_user_turn_and_noted(folder: Path) -> None:
    turns = [{"from": "system", "value": "Be brief."}, *llava("A <image> b")["conversations"]]
    sample = one_sample(folder, {"conversations": turns, "image": ["a.jpg", "b.png"]})
    assert [block["text"] for block in sample.messages[1]["content"]] == [None, "A ", None, " b"]
    assert [path.name for path in sample.images] == ["a.jpg", "b.png"]
    assert sample.notes == ("1 image has no image tag: put before the first user turn",)


def test_an_absolute_path_inside_the_image_folder_is_accepted(folder: Path) -> None:
    assert one_sample(folder, llava("<image>", image=str(folder / "a.jpg"))).images == (folder.resolve() / "a.jpg",)


def test_images_may_be_in_another_folder(folder: Path) -> None:
    (found,) = read_rows(folder, [llava("<image>", image="x.png")], images=folder.parent)
    assert isinstance(found, Sample)
    with pytest.raises(DataError, match="image folder .* does not exist"):
        read_rows(folder, [llava()], images=folder / "none")


def test_repeated_and_missing_ids_get_names_of_their_own(folder: Path) -> None:
    rows = [
        llava(id="a"),
        llava(id="a~2"),
        llava(id="a"),
        llava(),
        llava(uid=5),
        llava(id="a"),
        llava(id="", question_id="q"),
    ]
    found = [row for row in read_rows(folder, rows, source="s") if isinstance(row, Sample)]
    assert [sample.id for sample in found] == ["s/a", "s/a~2", "s/a~3", "s/000003", "s/5", "s/a~4", "s/q"]
    assert [bool(sample.notes) for sample in found] == [False, False, True, False, False, True, False]
    assert found[2].notes == ("repeated id 'a': became 'a~3'",)


def test_one_row_and_no_row_are_datasets(folder: Path) -> None:
    assert len(read_rows(folder, [llava()])) == 1
    assert read_rows(folder, []) == []


def test_broken_json_in_the_middle_keeps_the_rows_before(folder: Path) -> None:
    text = json.dumps([llava(), llava(), llava()], indent=1)
    (folder / "toy.json").write_text(text[: text.rindex("human")])
    first, second, broken = read(folder)
    assert isinstance(first, Sample) and isinstance(second, Sample) and isinstance(broken, Rejected)
    assert broken.row == 2
    assert "broken JSON at line" in broken.reason


def test_the_format_is_found_in_the_first_row_that_has_one(folder: Path) -> None:
    found = read_rows(folder, [3, {}, {"messages": [{"role": "assistant", "content": "hi"}]}])
    assert [type(row) for row in found] == [Rejected, Rejected, Sample]


def test_an_unknown_layout_is_refused_with_the_known_formats(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"first row has of no format; set columns: .*; known formats: .*llava.*messages"
    ):
        read_rows(folder, [{"of no format": "?"}])
    with pytest.raises(DataError, match="could be in the format llava or messages"):
        read_rows(folder, [llava(messages=[{"role": "assistant", "content": "hi"}])])
    with pytest.raises(ConfigError, match="did you mean 'llava'"):
        read_rows(folder, [llava()], format="lava")


def test_a_repaired_image_is_read_again(folder: Path) -> None:
    sound = (folder / "a.jpg").read_bytes()
    truncated(folder)
    rows = [llava("<image>", image="a.jpg")]
    assert isinstance(read_rows(folder, rows)[0], Rejected)
    (folder / "a.jpg").write_bytes(sound)
    assert isinstance(read_rows(folder, rows)[0], Sample)


class Captions:
    def sniff(self, row: Row) -> bool:
        return "caption" in row

    def parse(self, row: Row) -> Conversation:
        turns = [Turn("user", ["What is this?"]), Turn("assistant", [row["caption"]])]
        return Conversation(turns=turns, images=[row["file"]])

    def render(self, sample: Sample, images: Sequence[str]) -> Row:
        raise NotImplementedError


class FormerCaptions(Captions):
    """As plug-ins for version 0.1 are written: images under their former name."""

    def parse(self, row: Row) -> Conversation:
        from adaptinf.formats.conversation import picture_path

        turns = [Turn("user", ["What is this?"]), Turn("assistant", [row["caption"]])]
        return Conversation(turns=turns, pictures=[picture_path(row["file"])])


@pytest.mark.parametrize("plugin", [Captions, FormerCaptions])
def test_a_users_own_format_needs_three_short_functions(folder: Path, plugin: type[Captions]) -> None:
    with scope():
        dataset_format("captions")(plugin)
        good, bad = read_rows(folder, [{"caption": "A cat.", "file": "a.jpg"}, {"caption": "", "file": "a.jpg"}])
    assert isinstance(good, Sample) and good.messages[0]["content"][0]["type"] == "image"
    assert good.images == ((folder / "a.jpg").resolve(),)
    assert isinstance(bad, Rejected) and bad.reason == "empty answer in turn 2"


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["<image>", "a.jpg", "../x.png", "human", "gpt", "user", "assistant", "hi"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ROLES = st.sampled_from(["human", "gpt", "user", "assistant", "system"])
BLOCKS = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "image", "image_url"]) | ANY, "text": ANY, "image": ANY, "url": ANY}
)
TURNS = st.fixed_dictionaries(
    {}, optional={"from": ROLES | ANY, "value": ANY, "role": ROLES | ANY, "content": ANY | st.lists(BLOCKS, max_size=3)}
)


def test_a_text_that_no_model_reads_is_refused_and_other_keys_may_be_longer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaptinf.formats.rows.MAX_TEXT_BYTES", 500)
    monkeypatch.setattr(plain, "MAX_CHARACTERS", 125)
    rows = [llava("é" * 300), llava("x" * 300, note="x" * 2000)]
    refused, kept = read_rows(folder, rows)
    assert isinstance(refused, Rejected) and isinstance(kept, Sample)
    assert refused.reason.endswith(" bytes, at most 500 are read; divide the conversation")
    _, too_large = read_rows(folder, [llava("x"), rows[1]], max_row_bytes=1000)
    assert isinstance(too_large, Rejected) and "at most 1,000 are read (data.max_row_bytes)" in too_large.reason


ROWS = ANY | st.fixed_dictionaries(
    {},
    optional={key: st.lists(TURNS, max_size=4) | ANY for key in ("conversations", "messages")}
    | {key: ANY for key in ("id", "uid", "image", "images", "skill")},
)


@given(rows=st.lists(ROWS, max_size=5), format=st.sampled_from(["llava", "messages"]), lines=st.booleans())
@settings(max_examples=120, deadline=None)
def test_rows_of_any_kind_are_yielded_once_and_nothing_is_raised(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], format: str, lines: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{'jsonl' if lines else 'json'}"
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_text(text)
    if lines and (not rows or (len(rows) == 1 and isinstance(rows[0], list))):
        return  # no file of lines: nothing, and a file with one list, whose items are its rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(read(path, format))
    # A list of objects is a conversation or several rows.
    nested = [row for row in rows if isinstance(row, list) and row and all(isinstance(item, dict) for item in row)]
    assert len(found) >= len(rows) if nested else len(found) == len(rows)
    assert nested or [row.row for row in found if isinstance(row, Rejected)] == [
        number for number, row in enumerate(found) if isinstance(row, Rejected)
    ]
    samples = [row for row in found if isinstance(row, Sample)]
    assert len({sample.id for sample in samples}) == len(samples)
    json.dumps([sample.meta for sample in samples], allow_nan=False)
    for sample in samples:
        num_places = sum(block["type"] == "image" for message in sample.messages for block in message["content"])
        assert num_places == len(sample.images)


def test_a_row_that_is_a_list_is_a_conversation_or_several_rows(folder: Path) -> None:
    turns = llava()["conversations"]
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    found = read_rows(folder, [turns, turns, [llava(id="a"), llava(id="b"), {"conversations": 3}], said])
    samples = [row for row in found if isinstance(row, Sample)]
    assert [sample.id for sample in samples] == ["toy/000000", "toy/000001", "toy/a", "toy/b", "toy/000003"]
    assert [sample.turns[-1][1] for sample in samples] == ["This."] * 4 + ["!"]
    (rejected,) = (row for row in found if isinstance(row, Rejected))
    assert (rejected.row, rejected.reason) == (2, "conversations is 3, not a list of turns")


def test_an_id_of_several_lines_becomes_one_line_that_no_other_row_has(tmp_path):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    ids = ["a\nb", "a\\nb", "c", "a\ni/c", "x\x1b[31m", "\u2028", "zero\u200bwidth"]
    rows = [{"id": id, "conversations": turns} for id in ids] + [{"id": "r\n", "conversations": 3}]
    (tmp_path / "i.json").write_text(json.dumps(rows), encoding="utf-8")
    *samples, rejected = read(tmp_path / "i.json")
    found = [sample.id for sample in samples]
    assert found == ["i/a\\nb", "i/a\\nb~2", "i/c", "i/a\\ni/c", "i/x\\x1b[31m", "i/\\u2028", "i/zero\u200bwidth"]
    assert "\n".join(found).splitlines() == found
    assert "became 'a\\\\nb'" in samples[0].notes[0] and samples[2].notes == samples[6].notes == ()
    assert isinstance(rejected, Rejected) and rejected.id == "i/r\\n"
