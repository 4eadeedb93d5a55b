"""The images of a dataset that are no files: each content once, found without reading others, checked when read."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.errors import StoreError
from adaptinf.images.contents import ImageContent
from adaptinf.pool import image_file, image_writing
from adaptinf.pool.image_file import IMAGES_FILE, INDEX_FILE, image_of
from adaptinf.pool.image_writing import ImageWriter, batches_of, merge
from adaptinf.storage import store, verified


def contents(*values: bytes) -> list[ImageContent]:
    return [ImageContent.of(value) for value in values]


def part_of(path: Path, images: list[ImageContent]) -> list[str]:
    with closing(ImageWriter(path)) as writer:
        return [writer.add(image) for image in images]


def written(folder: Path, images: list[ImageContent]) -> list[str]:
    """Write a dataset's images, as one chunk has them, and return how rows refer to them."""
    part = folder / "images-of-chunk.arrow"
    references = part_of(part, images)
    merge([part], folder)
    part.unlink(missing_ok=True)
    return references


def rows_of(path: Path) -> list[dict[str, bytes]]:
    return [row for batch in batches_of(path) for row in batch.to_pylist()]


def test_each_content_is_stored_once_in_order(tmp_path: Path) -> None:
    references = written(tmp_path, contents(b"\xff\xd8\xffone", b"two", b"\xff\xd8\xffone", b"", b"two"))
    digest = hashlib.sha256(b"\xff\xd8\xffone").hexdigest()
    assert references[0] == references[2] == f"images.arrow#{digest}.jpg"
    assert [row["bytes"] for row in rows_of(tmp_path / IMAGES_FILE)] == [b"\xff\xd8\xffone", b"two", b""]
    assert [image_of(tmp_path, item).read() for item in references] == [
        b"\xff\xd8\xffone", b"two", b"\xff\xd8\xffone", b"", b"two"
    ]  # fmt: skip
    assert np.load(tmp_path / INDEX_FILE).shape == (3, 3)


def test_a_dataset_without_images_has_no_file(tmp_path: Path) -> None:
    written(tmp_path, contents(b"left by an attempt that was killed"))
    written(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.lists(st.binary(max_size=12), max_size=6), max_size=5))
def test_merged_parts_are_what_one_writer_would_have_written(
    parts: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    for number, values in enumerate(parts):
        part_of(folder / f"part-{number}", contents(*values))
    num_bytes = merge([folder / f"part-{number}" for number in range(len(parts))], folder)
    wanted = list(dict.fromkeys(value for values in parts for value in values))
    found = rows_of(folder / IMAGES_FILE) if wanted else []
    assert [row["bytes"] for row in found] == wanted and num_bytes == sum(map(len, wanted))
    for value in wanted:
        assert image_of(folder, image_file.reference_to(ImageContent.of(value))).read() == value


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.lists(st.binary(max_size=12) | st.binary(min_size=600, max_size=900), max_size=6), max_size=5))
def test_large_parts_are_linked_and_the_others_put_together(
    parts: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("linked")
    paths = [folder / f"part-{number}" for number in range(len(parts))]
    for path, values in zip(paths, parts, strict=True):
        part_of(path, contents(*values))
    before = {path: path.read_bytes() for path in paths if path.exists()}
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_writing, "WHOLE_BYTES", 1500)
        for _ in range(2):  # as after a kill, when links to the parts are there already
            num_bytes = merge(paths, folder)
            made.append({path.name: path.read_bytes() for path in sorted(folder.glob("images*"))})
    assert made[0] == made[1] and {path: path.read_bytes() for path in before} == before
    wanted = list(dict.fromkeys(value for values in parts for value in values))
    files = [folder / image_file.file_name(number) for number in range(len(made[0]) - 1 if made[0] else 0)]
    assert [row["bytes"] for path in files for row in rows_of(path)] == wanted and num_bytes == sum(map(len, wanted))
    for value in wanted:
        image = image_of(folder, image_file.reference_to(ImageContent.of(value)))
        assert image.read() == value
        (place,) = [path for path in files if value in [row["bytes"] for row in rows_of(path)]]
        assert image_file.place_of(image) == f"{place}#{image}"
    new = [
        set(values) - {value for before in parts[:number] for value in before} for number, values in enumerate(parts)
    ]
    for path, values, fresh in zip(paths, parts, new, strict=True):
        is_linked = path.exists() and any(path.samefile(file) for file in files)
        assert is_linked == (path.exists() and path.stat().st_size >= 1500 and fresh == set(values))


def test_a_file_system_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(image_writing, "WHOLE_BYTES", 1)
    monkeypatch.setattr("os.link", refuse)
    for name, value in (("part-0", b"one"), ("part-1", b"two")):
        part_of(tmp_path / name, contents(value))
    merge([tmp_path / "part-0", tmp_path / "part-1"], tmp_path)
    for number, value in enumerate((b"one", b"two")):
        assert [row["bytes"] for row in rows_of(tmp_path / image_file.file_name(number))] == [value]
        assert image_of(tmp_path, image_file.reference_to(ImageContent.of(value))).read() == value


def test_a_batch_holds_a_limited_number_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_writing, "BATCH_BYTES", 100)
    values = [bytes([number]) * (40 + number) for number in range(10)] + [b"x" * 500]
    references = written(tmp_path, contents(*values))
    sizes = [batch.num_rows for batch in batches_of(tmp_path / IMAGES_FILE)]
    assert sizes == [2, 2, 2, 2, 2, 1]
    assert [image_of(tmp_path, item).read() for item in references] == values
    index = np.load(tmp_path / INDEX_FILE)
    assert index.dtype == np.uint64 and index.shape == (3, 11) and (np.diff(index[0].astype(object)) > 0).all()


def test_a_header_is_read_without_the_rest(tmp_path: Path) -> None:
    (reference,) = written(tmp_path, contents(bytes(range(100)) * 1000))
    with image_of(tmp_path, reference).open() as file:
        assert file.read(5) == b"\0\1\2\3\4" and file.seek(0, 2) == 100_000 and file.read() == b""
        assert file.seek(-2, 1) == 99_998 and file.read() == b"bc"


def test_the_images_file_is_an_arrow_stream_that_others_read(tmp_path: Path) -> None:
    written(tmp_path, contents(b"one", b"two"))
    table = pa.ipc.open_stream(tmp_path / IMAGES_FILE).read_all()
    assert table["digest"].to_pylist() == [hashlib.sha256(value).digest() for value in (b"one", b"two")]
    assert table["bytes"].to_pylist() == [b"one", b"two"]


def finished(tmp_path: Path, images: list[ImageContent]) -> tuple[Path, list[str]]:
    folder = tmp_path / "00-toy"
    references = written(store.begin(folder), images)
    store.finish(folder)
    return folder, references


def test_a_flipped_bit_in_an_image_is_never_served(tmp_path: Path) -> None:
    folder, references = finished(tmp_path, contents(b"first image" * 50, b"second image" * 50))
    path = folder / IMAGES_FILE
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"second image") + 30] ^= 4
    path.write_bytes(damaged)
    assert image_of(folder, references[0]).read() == b"first image" * 50
    with pytest.raises(StoreError, match=r"images.arrow is damaged: [0-9a-f]{64}; bring back"):
        image_of(folder, references[1]).read()
    with verified.checking(False):
        assert image_of(folder, references[1]).read() != b"second image" * 50


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder, references = finished(tmp_path, contents(b"first image"))
    with pytest.raises(StoreError, match="images.arrow lacks an image"):
        image_of(folder, image_file.reference_to(ImageContent.of(b"another"))).read()
    with pytest.raises(StoreError, match="images.arrow lacks an image"):
        image_of(folder, "images.arrow#no-digest.png").read()
    (folder / IMAGES_FILE).unlink()
    with pytest.raises(StoreError, match="images.arrow cannot be read"):
        image_of(folder, references[0]).read()
    (folder / INDEX_FILE).unlink()
    with pytest.raises(StoreError, match="images-index.npy is missing"):
        image_of(folder, references[0]).read()


def test_two_digests_that_begin_alike_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    references = written(tmp_path, contents(b"one", b"two"))
    index = np.load(tmp_path / INDEX_FILE)
    index[0] = int(references[1].partition("#")[2][:16], 16)
    monkeypatch.setattr(image_file, "_index", lambda _: index)
    image = image_of(tmp_path, references[1])
    assert image.read() == b"two"
    with image.open() as file:
        assert file.read() == b"two"
