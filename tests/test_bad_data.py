"""Datasets that are damaged in one place: one line that names it, nothing in the pool, and the same command goes on."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adaptinf import api
from adaptinf.data import Rejected
from adaptinf.errors import DataError
from adaptinf.formats import read
from tests.helpers.conversations import BASE_PATH
from tests.helpers.published import NUM_ROWS, finevision, onevision, swift, webdataset

Damage = Callable[[Path], Path]
"""Makes a dataset in a folder, damages one file of it, and returns that file."""


def no_footer(folder: Path) -> Path:
    finevision(folder)
    return cut(folder / "train-00001-of-00003.parquet")


def other_schema(folder: Path) -> Path:
    finevision(folder)
    place = folder / "train-00002-of-00003.parquet"
    table = pq.read_table(place)
    pq.write_table(table.rename_columns(["images", "talk", "source", "relevance_ratings"]), place)
    return place


def cut_tar(folder: Path) -> Path:
    webdataset(folder)
    return cut(folder / "00001.tar")


def cut_lines(folder: Path) -> Path:
    swift(folder)
    return cut(folder / "swift.jsonl")


def cut_gzip(folder: Path) -> Path:
    swift(folder)
    place = folder / "swift.jsonl.gz"
    place.write_bytes(gzip.compress((folder / "swift.jsonl").read_bytes()))
    (folder / "swift.jsonl").unlink()
    return cut(place)


def no_json(folder: Path) -> Path:
    folder.mkdir(parents=True)
    place = folder / "rows.json"
    place.write_text("<html>404</html>")
    return place


def cut(place: Path) -> Path:
    place.write_bytes(place.read_bytes()[: place.stat().st_size * 2 // 3])
    return place


@pytest.mark.heavy
@pytest.mark.parametrize("damage", [no_footer, other_schema, cut_tar, cut_lines, cut_gzip, no_json])
def test_a_damaged_dataset_is_refused_by_name_and_read_after_its_repair(damage: Damage, tmp_path: Path) -> None:
    place = damage(tmp_path / "data")
    damaged = place.read_bytes()
    run = tmp_path / "run"
    api.init(run, model=BASE_PATH, settings={"selection.method": "random_replay", "model.max_length": 256})
    with pytest.raises(DataError) as caught:
        api.add(run, tmp_path / "data", name="toy")
    message = str(caught.value)
    assert place.name in message and "\n" not in message and len(message) < 500, message
    assert not (run / "pool" / "00-toy").exists()
    assert place.read_bytes() == damaged, "nothing of the user's is changed"

    for item in (tmp_path / "data").iterdir():
        item.unlink()
    (tmp_path / "data").rmdir()
    finevision(tmp_path / "data")
    added = api.add(run, tmp_path / "data", name="toy")
    assert (added.num_samples, added.num_rejected) == (NUM_ROWS, 0)


def reasons(path: Path) -> list[str]:
    """Return why rows are rejected; read = kept + rejected."""
    rows = list(read(path, source="toy"))
    assert len(rows) == NUM_ROWS
    return [row.reason for row in rows if isinstance(row, Rejected)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"", "0 bytes"),
        (b"\x89PNG\r\n\x1a\n1234", "cannot be decoded"),
    ],
)
def test_a_row_whose_image_is_none_is_rejected_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    onevision(tmp_path / "data")
    place = tmp_path / "data" / "train-00000-of-00003.parquet"
    rows = pq.read_table(place).to_pylist()
    rows[1]["image"]["bytes"] = content
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(place)), place)
    (found,) = reasons(tmp_path / "data")
    assert reason in found and len(found) <= 200
    (row,) = [row for row in read(tmp_path / "data") if isinstance(row, Rejected)]
    assert row.row == 1 and row.file.endswith(place.name)


def test_an_image_of_too_many_pixels_is_rejected_from_its_header(tmp_path: Path) -> None:
    onevision(tmp_path / "data")
    place = tmp_path / "data" / "train-00001-of-00003.parquet"
    rows = pq.read_table(place).to_pylist()
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    rows[2]["image"]["bytes"] = bomb.getvalue()
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(place)), place)
    (found,) = reasons(tmp_path / "data")
    assert "30000 x 30000" in found


def test_an_address_in_the_row_is_refused_and_never_fetched(tmp_path: Path) -> None:
    rows = [
        {
            "image": "http://localhost:1/a.png",
            "conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "a"}],
        }
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (row,) = read(tmp_path / "rows.jsonl")
    assert isinstance(row, Rejected) and "download" in row.reason


def test_an_empty_shard_is_no_error_and_only_empty_ones_are(tmp_path: Path) -> None:
    onevision(tmp_path / "data")
    place = tmp_path / "data" / "train-00001-of-00003.parquet"
    pq.write_table(pq.read_table(place).slice(0, 0), place)
    assert len(list(read(tmp_path / "data"))) == NUM_ROWS - 3


def test_validate_names_a_file_without_a_row(tmp_path: Path) -> None:
    onevision(tmp_path / "data")
    place = tmp_path / "data" / "train-00001-of-00003.parquet"
    pq.write_table(pq.read_table(place).slice(0, 0), place)
    findings = api.validate(tmp_path / "data")
    (found,) = [one for one in findings.findings if one.finding == "file without a row"]
    assert (found.rows, Path(found.example).name) == (1, place.name)
