"""Images that stand in the row: every way to write one gives its bytes, and what is no image is refused by name."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptinf.data import Rejected, Sample
from adaptinf.formats import read
from adaptinf.formats.columns import image_path
from adaptinf.formats.image_files import ImageFolders
from adaptinf.formats.in_row import GivenImage, data_url, from_base64
from adaptinf.formats.reasons import BadRow
from adaptinf.images.contents import ImageContent, name_of_other

KINDS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
LONGEST = 200
"""Characters of a reason."""


def encoded(kind: str = "PNG", color: str = "teal", size: tuple[int, int] = (9, 7)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind)
    return file.getvalue()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def row(image: Any, **others: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
    return {"image": image, "conversations": turns, **others}


def one(folder: Path, row: dict[str, Any]) -> Sample | Rejected:
    (folder / "toy.json").write_text(json.dumps([row]))
    (found,) = read(folder / "toy.json")
    return found


def content_of(value: object) -> bytes:
    found = image_path(value)
    assert isinstance(found, GivenImage), found
    return found.content


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_write_an_image_into_a_row_gives_its_bytes(kind: str) -> None:
    content = encoded(kind)
    text, url_safe = base64_of(content), base64.urlsafe_b64encode(content).decode()
    broken = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    url = f"data:image/{kind.lower()};base64,{text}"
    whole: list[Any] = [content, bytearray(content), text, broken, url_safe, text.rstrip("="), url, f" {url}\n"]
    objects = [{"bytes": item, "path": None} for item in whole] + [{"bytes": content, "path": "a/b.png"}]
    others = [{"url": url}, {"path": None, "bytes": broken}, {"base64": text}, {"data": url_safe}]
    for value in [*whole, *objects, *others, f"data:image/x;charset=utf-8;base64,{quote(text)}"]:
        assert content_of(value) == content


@given(st.binary(max_size=300))
def test_base64_of_any_bytes_is_read_back(content: bytes) -> None:
    for text in (base64_of(content), base64.urlsafe_b64encode(content).decode(), base64.encodebytes(content).decode()):
        assert from_base64(text) == content


@given(
    st.text(max_size=200) | st.text("Aa09+/-_= \n", max_size=200) | st.text("Aa,;:", max_size=50).map("data:".__add__)
)
def test_any_text_is_a_path_or_an_image_or_refused_by_name(text: str) -> None:
    try:
        found = image_path(text)
    except BadRow as reason:
        assert "is a data URL whose data is not base64" in str(reason)
    else:
        assert isinstance(found, GivenImage) or found == text


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), start=st.integers(0, 200), damage=st.binary(max_size=100))
def test_damaged_bytes_are_an_image_or_refused_in_a_short_line(kind: str, start: int, damage: bytes) -> None:
    content = encoded(kind)
    found = ImageFolders([Path()]).find(GivenImage(content[:start] + damage + content[start + len(damage) :]))
    assert found.problem is None or len(found.problem) <= LONGEST


def test_many_comments_before_what_is_no_drawing_take_no_time() -> None:
    assert name_of_other(b"<!---->" * 200) is None and name_of_other(b"<!-- a --> <!-- b --><svg>") == "an SVG drawing"


def test_a_data_url_without_base64_holds_its_characters() -> None:
    assert content_of(f"data:image/svg+xml;utf8,{quote(SVG)}") == SVG


def test_bytes_win_over_a_path_and_a_path_without_bytes_is_one() -> None:
    assert content_of({"bytes": encoded(), "path": "there.png"}) == encoded()
    assert image_path({"bytes": None, "path": "there.png"}) == "there.png"
    assert image_path({"path": "there.png"}) == "there.png"


@pytest.mark.parametrize(
    "path",
    [
        "train2017/000000033471.jpg",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/deep/folder/of/images/number/one.jpg",
        "QkFOQU5B/" * 8 + "photo",
        "iVBORw0KGgo.png",
        "a" * 200,
        "images/" * 20 + "x",
    ],
)
def test_a_path_is_no_image_in_base64(path: str) -> None:
    assert image_path(path) == path


def test_images_in_the_row_become_samples_with_equal_contents(tmp_path: Path) -> None:
    content = encoded("JPEG")
    for value in (
        base64_of(content),
        {"bytes": base64_of(content), "path": "gone.jpg"},
        data_url(ImageContent.of(content)),
    ):
        found = one(tmp_path, row(value))
        assert isinstance(found, Sample) and found.images == (ImageContent.of(content),)
        (image,) = found.images
        assert isinstance(image, ImageContent) and image.suffix == ".jpg" and image.read() == content
        assert found.stored_images[0].size() == (9, 7)
        assert found.stored_images[0].open().getpixel((0, 0)) == pytest.approx((0, 128, 128), abs=4)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (encoded("JPEG", size=(64, 64))[:300], "image of 300 bytes in the row cannot be decoded"),
        (b"", "image of 0 bytes in the row is empty (0 bytes)"),
        ({"bytes": b"", "path": "a.png"}, "image 'a.png' of 0 bytes in the row is empty"),
        (SVG, "is an SVG drawing, not an image of pixels; convert it to PNG or JPEG"),
        (SVG.partition(b"\n")[2], "is an SVG drawing"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "is a web page"),
        (b"%PDF-1.7 " + bytes(100), "is a PDF document"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "is a HEIC image"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "is a video"),
        (b"PK\x03\x04" + bytes(100), "is a ZIP archive"),
        (b"nothing that is known, at any length" * 900, "cannot be decoded (unknown format)"),
        (encoded(size=(300, 300)), "is too large: 300 x 300 pixels, at most 10,000 are read"),
    ],
)
def test_what_is_no_image_is_refused_by_name(value: Any, expected: str) -> None:
    given = image_path(value)
    found = ImageFolders([Path()], max_pixels=10_000).find(given)
    assert found.problem is not None and expected in found.problem and len(found.problem) <= LONGEST


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://example.org/a.jpg", "is not a local file; download it and give its path, or a data URL"),
        ({"url": "http://example.org/" + "a" * 5000}, "is not a local file; download it"),
        ("data:image/png;base64,!" + "?" * 5000, "is a data URL whose data is not base64"),
        ({"bytes": 7, "path": None}, "image holds 7: neither bytes nor base64 text"),
        ({"bytes": [137, 80] * 5000}, "image holds [137, 80"),
        ({"bytes": "?" * 5000}, "neither bytes nor base64 text"),
        ("A" * 20_000, "image of 15,000 bytes in the row cannot be decoded (unknown format)"),
        ({"pixels": "A" * 20_000}, "keys pixels: expected a path, {path: ...} or {bytes: ...}"),
    ],
)
def test_a_refusal_is_short_and_says_what_to_do(tmp_path: Path, value: Any, expected: str) -> None:
    found = one(tmp_path, row(value))
    assert isinstance(found, Rejected) and expected in found.reason, found
    assert len(found.reason) <= LONGEST and not any(letter * 81 in found.reason for letter in "aA?")


def test_bytes_that_are_no_image_are_kept_as_their_number(tmp_path: Path) -> None:
    rows = [row(encoded(), mask=b"\x00\xff", deep={"a": [b"xyz"]}) | {"id": str(number)} for number in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "toy.parquet")
    found = list(read(tmp_path / "toy.parquet"))
    assert [item.id for item in found] == ["toy/0", "toy/1"]
    assert isinstance(found[0], Sample) and found[0].images == (ImageContent.of(encoded()),)
    assert found[0].meta == {"mask": "2 bytes", "deep": {"a": ["3 bytes"]}} and found[0].unread == ("mask", "deep")
    for text in rows:
        del text["image"]
        text["conversations"] = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "This."}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "toy.parquet")
    (first, _) = read(tmp_path / "toy.parquet")
    assert isinstance(first, Sample) and first.meta == {"mask": "2 bytes", "deep": {"a": ["3 bytes"]}}


def test_a_bomb_is_refused_without_being_decoded() -> None:
    bomb = encoded(size=(12_000, 12_000))
    assert len(bomb) < 1_000_000
    found = ImageFolders([Path()]).find(GivenImage(bomb))
    assert found.problem is not None and "is too large: 12000 x 12000 pixels" in found.problem


def test_an_image_that_comes_again_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from adaptinf.formats import image_files

    seen: list[object] = []
    real = image_files.examine
    monkeypatch.setattr(image_files, "examine", lambda image, **limits: seen.append(image) or real(image, **limits))
    folder = ImageFolders([Path()])
    found = [folder.find(GivenImage(encoded(color=color))) for color in ("red", "blue", "red", "red")]
    assert len(seen) == 2 and [item.problem for item in found] == [None] * 4


def test_an_empty_value_in_an_object_is_no_image() -> None:
    for value in ({"bytes": None, "path": None}, {"bytes": None, "path": ""}):
        assert image_path(value) == ""
    with pytest.raises(BadRow, match="neither bytes nor base64"):
        image_path({"bytes": {"x": 1}})
