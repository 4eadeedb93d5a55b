"""A dataset that is read by chunks: the same bytes for any number of processes and after any kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adaptinf.errors import DataError, StoreError
from adaptinf.executors import processes
from adaptinf.formats.reading import ChunkReader, prepared
from adaptinf.pool import intake
from adaptinf.pool.chunk_results import CHUNKS, ChunkResult, ChunkWriter, chunk_folder, write_chunk
from adaptinf.pool.intake import add_chunks, content_of
from adaptinf.sources import chunks
from adaptinf.sources.chunks import Chunk
from adaptinf.storage import store
from tests.helpers.run_folders import content

NUM_ROWS = 120
CHUNK_BYTES = 1500


def row(number: int, **others: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"What is {number}?"}, {"from": "gpt", "value": f"A number, {number}."}]
    return {"conversations": turns, **others}


def rows() -> list[dict[str, Any]]:
    """Return rows of all kinds: without id, with a repeated one, with images, with notes, bad ones."""
    found = [row(number) for number in range(NUM_ROWS)]
    for number in range(0, NUM_ROWS, 3):
        found[number]["id"] = f"own-{number % 30}"
    for number in range(0, NUM_ROWS, 10):
        found[number]["image"] = f"{number % 4}.png"
    for number in range(5, NUM_ROWS, 25):
        found[number]["conversations"] = []
    found[50]["id"] = "000052"
    found[70]["note"] = "unread"
    return found


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a file of lines that has several chunks."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", CHUNK_BYTES)
    monkeypatch.setattr(chunks, "_MUCH", CHUNK_BYTES)
    monkeypatch.setattr(chunks, "IMAGE_ROWS", 10**6)
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * number, np.uint8)).save(tmp_path / f"{number}.png")
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows()))
    return path


def add(data: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    options = {"images": "reference", "on_bad_row": "reject", "origin": {"path": str(data)}, **changes}
    info = add_chunks(folder / "pool", 0, prepared(data, source="toy"), part=folder / "part", **options)
    assert not (folder / "part" / CHUNKS).exists()
    return info


def test_chunks_and_processes_change_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = add(data, tmp_path / "several")
    assert len(prepared(data).chunks) > 5
    monkeypatch.setattr(processes, "usable_cores", lambda: 1)
    assert add(data, tmp_path / "one process") == info
    assert content(tmp_path / "one process") == content(tmp_path / "several")
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 10**9)
    assert add(data, tmp_path / "one chunk") == info
    assert content_of(tmp_path / "one chunk" / "part") == content_of(tmp_path / "several" / "part")
    for name in ("rejected.jsonl", "repaired.jsonl"):
        one, several = (tmp_path / case / "part" / name for case in ("one chunk", "several"))
        assert one.read_text() == several.read_text() != ""
    assert info["rows"] + info["rejected"] == NUM_ROWS == info["shards"][0]["rows"]


def test_ids_are_settled_over_all_chunks(data: Path, tmp_path: Path) -> None:
    info = add(data, tmp_path)
    found = [json.loads(line) for line in (tmp_path / "part" / "repaired.jsonl").read_text().splitlines()]
    renamed = {line["id"]: line["notes"] for line in found}
    assert info["repeated_ids"] == len([notes for notes in renamed.values() if "repeated id" in " ".join(notes)]) > 20
    assert renamed["toy/000052~2"] == ["repeated id '000052': became '000052~2'"]
    last = json.loads((tmp_path / "part" / "rejected.jsonl").read_text().splitlines()[-1])
    assert last["row"] == 105 and last["id"] == "toy/own-15"


PROGRAM = """
import sys
from pathlib import Path
from adaptinf.formats import rows
from adaptinf.formats.reading import ChunkReader, prepared
from adaptinf.pool.intake import add_chunks
from adaptinf.sources import chunks
from adaptinf.sources.chunks import Chunk
chunks.CHUNK_BYTES = chunks._MUCH = {size}
chunks.IMAGE_ROWS = 10**6
folder = Path(sys.argv[2])
add_chunks(folder / "pool", 0, prepared(sys.argv[1], source="toy"), part=folder / "part", images=sys.argv[3],
           on_bad_row="reject", origin={{"path": sys.argv[1]}})
"""


@pytest.mark.parametrize("images", ["reference", "copy"])
def test_a_killed_add_goes_on_and_gives_the_same_bytes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str
) -> None:
    add(data, tmp_path / "undisturbed", images=images)
    killed = tmp_path / "killed"
    program = PROGRAM.format(size=CHUNK_BYTES)
    child = subprocess.Popen([sys.executable, "-c", program, str(data), str(killed), images], start_new_session=True)
    folder = chunk_folder(killed / "part", 1)
    begin = time.monotonic()
    while not folder.exists() and child.poll() is None:
        assert time.monotonic() - begin < 60
        time.sleep(0.002)
    # The parent alone: its workers end by themselves.
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    finished = sorted(path.name for path in (killed / "part" / CHUNKS).glob("??????"))
    assert "000001" in finished and not (killed / "part" / "info.json").exists()
    read: list[int] = []

    def noted(writer: ChunkWriter, chunk: Chunk) -> ChunkResult:
        read.append(chunk.number)
        return write_chunk(writer, chunk)

    monkeypatch.setattr(intake, "write_chunk", noted)
    monkeypatch.setattr(processes, "usable_cores", lambda: 1)
    add(data, killed, images=images)
    assert read and not {int(name) for name in finished} & set(read)
    assert content(killed) == content(tmp_path / "undisturbed")


def test_a_worker_that_is_killed_stops_the_add_which_can_go_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "deadly.py"
    plugin.write_text(
        "import os, signal\nfrom pathlib import Path\nfrom adaptinf.formats.llava import Llava\n"
        "from adaptinf.registry import dataset_format\n\n@dataset_format('deadly')\nclass Deadly(Llava):\n"
        "    def parse(self, row):\n"
        f"        if 'note' in row and not Path({str(tmp_path / 'harmless')!r}).exists():\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n        return super().parse(row)\n"
    )
    from adaptinf import registry

    monkeypatch.setattr(processes, "usable_cores", lambda: 2)
    with registry.scope([plugin]):
        reading = prepared(data, "deadly", source="toy")
        part = tmp_path / "part"
        options: dict[str, Any] = {"images": "reference", "on_bad_row": "reject", "origin": {}, "part": part}
        with pytest.raises(
            StoreError,
            match=r"3 workers died at .*data.jsonl \(from .*\), .* \(SIGKILL\).*same command goes on",
        ):
            add_chunks(tmp_path / "pool", 0, reading, **options)
        assert chunk_folder(part, 0).exists()
        (tmp_path / "harmless").touch()
        info = add_chunks(tmp_path / "pool", 0, reading, **options)
    assert info["rows"] + info["rejected"] == NUM_ROWS


@pytest.mark.parametrize("change", ["file", "settings"])
def test_what_was_made_of_other_files_or_settings_is_made_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 1)
    merged = intake._merged
    monkeypatch.setattr(intake, "_merged", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add(data, tmp_path / "run")
    monkeypatch.setattr(intake, "_merged", merged)
    assert chunk_folder(tmp_path / "run" / "part", 3).exists()
    if change == "file":
        data.write_text("".join(json.dumps(row(number)) + "\n" for number in range(30)))
        assert add(data, tmp_path / "run")["rows"] == 30
        assert not list((tmp_path / "run" / "part").glob("chunks*"))
    else:
        add(data, tmp_path / "run", images="copy")
    add(data, tmp_path / "fresh", images="reference" if change == "file" else "copy")
    assert content(tmp_path / "run") == content(tmp_path / "fresh")


def test_an_image_that_was_repaired_meanwhile_is_read_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 1)
    image = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").unlink()
    merged = intake._merged
    monkeypatch.setattr(intake, "_merged", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add(data, tmp_path / "run")
    monkeypatch.setattr(intake, "_merged", merged)
    (tmp_path / "2.png").write_bytes(image)
    assert add(data, tmp_path / "run") == add(data, tmp_path / "fresh")


def test_the_first_bad_row_in_file_order_stops(data: Path, tmp_path: Path) -> None:
    lines = data.read_text().splitlines()
    lines[5], lines[105] = lines[6], "oops"
    data.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"data.jsonl row 30: no assistant turn.*data.on_bad_row=reject"):
        add(data, tmp_path, on_bad_row="stop")


def test_a_file_that_breaks_off_keeps_the_rows_before_if_that_is_allowed(data: Path, tmp_path: Path) -> None:
    with data.open("a") as file:
        file.write('{"id": "cut')
    with pytest.raises(
        DataError, match=r"toy: .*cannot be read to its end: 120 rows read, then broken JSON at line 121"
    ):
        add(data, tmp_path)
    info = add(data, tmp_path, allow_broken=True)
    assert info["rows"] + info["rejected"] == NUM_ROWS + 1
    assert store.REJECTED in {path.name for path in (tmp_path / "part").iterdir()}


def test_a_file_that_has_other_rows_than_it_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(8)]), path, row_group_size=4)
    reading = prepared(path, source="toy")
    options: dict[str, Any] = {"images": "reference", "on_bad_row": "reject", "origin": {}}
    assert add_chunks(tmp_path / "pool", 0, reading, part=tmp_path / "part", **options)["rows"] == 8
    items = ChunkReader.items
    monkeypatch.setattr(ChunkReader, "items", lambda self, chunk: islice(items(self, chunk), 7))
    with pytest.raises(DataError, match=r"data.parquet has 8 rows by its footer, but 7 were read"):
        add_chunks(tmp_path / "pool", 0, reading, part=tmp_path / "other", **options)
