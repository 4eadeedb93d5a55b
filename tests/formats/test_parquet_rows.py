"""Rows written as Parquet: read back the same, with images that `datasets` shows."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptinf.data import Message, Sample
from adaptinf.errors import DataError
from adaptinf.formats import parquet_rows as module
from adaptinf.formats import read, write
from adaptinf.images.contents import ImageContent

FORMATS = ("llava", "messages", "sharegpt", "swift")


def content_of(color: str, kind: str = "PNG") -> ImageContent:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, kind)
    return ImageContent.of(file.getvalue())


def sample(number: int, images: list[Any], *, answers: int = 1, unlearnt: tuple[int, ...] = ()) -> Sample:
    blocks: list[Any] = [{"type": "image", "text": None} for _ in images]
    messages: list[Message] = []
    for turn in range(answers):
        text = {"type": "text", "text": f"{turn}?"}
        messages.append({"role": "user", "content": [*(blocks if turn == 0 else []), text]})  # type: ignore[list-item]
        messages.append({"role": "assistant", "content": [{"type": "text", "text": f"{number}."}]})
    return Sample(id=f"toy/{number}", source="toy", messages=tuple(messages), images=tuple(images), unlearnt=unlearnt)


def back(path: Path, format: str) -> list[Sample]:
    found = list(read(path, format, source="toy"))
    assert all(isinstance(row, Sample) for row in found), found
    return [row for row in found if isinstance(row, Sample)]


def plain(row: Sample) -> tuple[Any, ...]:
    return row.id, row.messages, row.images, row.unlearnt, dict(row.meta)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json"])
def test_images_that_are_no_files_come_back_equal(tmp_path: Path, format: str, suffix: str) -> None:
    red, blue = content_of("red"), content_of("blue", "JPEG")
    written = [sample(0, [red]), sample(1, []), sample(2, [blue, red], answers=2), sample(3, [red])]
    assert write(written, tmp_path / f"data{suffix}", format) == 4
    assert list(map(plain, back(tmp_path / f"data{suffix}", format))) == list(map(plain, written))


@pytest.mark.parametrize("format", FORMATS)
def test_files_are_written_as_paths_or_with_their_bytes(tmp_path: Path, format: str) -> None:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "red.png"
    path.write_bytes(content_of("red").read())
    for embed, expected in ((False, path.resolve()), (True, content_of("red"))):
        for name in ("data.parquet", "data.jsonl"):
            write([sample(0, [path])], tmp_path / name, format, embed=embed)
            (found,) = back(tmp_path / name, format)
            assert found.images == (expected,)


@pytest.mark.parametrize("format", ["llava", "messages"])
@pytest.mark.parametrize("several", [False, True])
def test_datasets_shows_the_images(tmp_path: Path, format: str, several: bool) -> None:
    images = [content_of("red"), content_of("lime")][: 1 + several]
    write([sample(0, images), sample(1, images[:1])], tmp_path / "data.parquet", format)
    table = datasets.Dataset.from_parquet(str(tmp_path / "data.parquet"), cache_dir=str(tmp_path / "cache"))
    assert isinstance(table, datasets.Dataset)
    found = table[0]["images" if format == "messages" else "image"]
    shown = found if isinstance(found, list) else [found]
    assert [image.getpixel((0, 0)) for image in shown] == [(255, 0, 0), (0, 255, 0)][: 1 + several]


def test_loss_flags_in_some_rows_only_fit_into_columns(tmp_path: Path) -> None:
    written = [sample(0, []), sample(1, [], answers=2, unlearnt=(1,))]
    for format in ("llava", "messages"):
        write(written, tmp_path / "data.parquet", format)
        assert [row.unlearnt for row in back(tmp_path / "data.parquet", format)] == [(), (1,)]


def test_a_row_group_holds_a_limited_number_of_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = [ImageContent.of(random.Random(number).randbytes(1000)) for number in range(9)]
    for rows, num_bytes, expected in ((4, 10_000, [4, 4, 1]), (100, 2500, [3, 3, 3])):
        monkeypatch.setattr(module, "ROWS_PER_GROUP", rows)
        monkeypatch.setattr(module, "BYTES_PER_GROUP", num_bytes)
        write((sample(number, [image]) for number, image in enumerate(noise)), tmp_path / "d.parquet", "llava")
        file = pq.ParquetFile(tmp_path / "d.parquet")
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == expected


def test_what_a_column_cannot_hold_is_refused_in_one_line(tmp_path: Path) -> None:
    odd = [replace(sample(number, []), meta={"size": value}) for number, value in enumerate((1, "large"))]
    with pytest.raises(DataError, match=r"rows do not fit into columns of one type each \(.*write .jsonl instead"):
        write(odd, tmp_path / "data.parquet", "llava")
    with pytest.raises(DataError, match=r"image .*gone.png cannot be read \(No such file"):
        write([sample(0, [tmp_path / "gone.png"])], tmp_path / "data.parquet", "llava", embed=True)
    assert not (tmp_path / "data.parquet").exists()


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.lists(st.sampled_from(["red", "blue", "lime"]), max_size=3), st.integers(1, 3)), max_size=5
    ),
    format=st.sampled_from(FORMATS),
)
def test_any_rows_come_back_equal(
    rows: list[tuple[list[str], int]], format: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    written = [
        sample(number, list(map(content_of, colors)), answers=answers) for number, (colors, answers) in enumerate(rows)
    ]
    assert write(written, folder / "data.parquet", format) == len(written)
    assert list(map(plain, back(folder / "data.parquet", format))) == list(map(plain, written))
