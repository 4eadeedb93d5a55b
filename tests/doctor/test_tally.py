"""What `validate` counts is the same for any division into chunks and any number of processes."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from adaptinf.doctor import dataset
from adaptinf.doctor.dataset import validate
from adaptinf.doctor.tally import Tallier, Tally, Total
from adaptinf.errors import DataError
from adaptinf.formats.reading import prepared
from adaptinf.progress import Silent
from adaptinf.sources import chunks
from adaptinf.storage import lock


def row(number: int, **others: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"What is {number}?"}, {"from": "gpt", "value": f"{number}"}]
    return {"conversations": turns, **others}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a file of lines with everything that is counted."""
    rows = [row(number) for number in range(100)]
    for number in range(0, 100, 4):
        rows[number] |= {"id": f"own {number % 20}", "score": number / 7}
    for number in range(1, 100, 9):
        rows[number]["conversations"][1]["value"] = " "
    rows[33] |= {"id": "two\nlines", "skill": "counting"}
    rows[34] |= {"id": "two\nlines", "note": "unread"}
    rows[60]["image"] = "missing.png"
    rows[61]["tools"] = [{"name": "f"}]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows) + '{"id": "cut')
    return path


@pytest.mark.parametrize("cores", [1, 3])
def test_chunks_and_processes_change_no_finding(data: Path, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    whole = validate(str(data), metric="exact")
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 900)
    monkeypatch.setattr(chunks, "_MUCH", 900)
    monkeypatch.setattr(dataset, "usable_cores", lambda: cores)
    assert validate(str(data), metric="exact").as_json() == whole.as_json()
    assert whole.num_samples + len(whole.rejected) == 101 and whole.broken == whole.rejected[-1]
    assert whole.broken is not None and (whole.broken.row, whole.broken.id) == (100, "data/000100")
    notes = dict(whole.repaired)
    assert notes["data/two\\nlines~2"] == "repeated id 'two\\\\nlines': became 'two\\\\nlines~2'"
    examples = {one.finding: (one.rows, one.example) for one in whole.findings}
    assert examples["rejected: empty answer in turn N"] == (11, "data.jsonl row 1: empty answer in turn 2")
    assert examples["tools"] == (1, "data/000061")
    assert examples["repaired: repeated id ...: became ..."] == (18, "data/own 0~2")
    assert examples["unused key: score"][0] == 22 and [one.name for one in whole.columns] == []


def test_a_line_that_is_not_utf8_is_named_whichever_process_finds_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = data.read_bytes().split(b"\n")
    lines[70] = b'{"id": "\xff"}'
    data.write_bytes(b"\n".join(lines))
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 900)
    monkeypatch.setattr(chunks, "_MUCH", 900)
    monkeypatch.setattr(dataset, "usable_cores", lambda: 2)
    with pytest.raises(DataError, match=r"data.jsonl is not UTF-8 text \(invalid start byte\); convert it first"):
        validate(str(data))


def test_a_part_of_a_dataset_and_columns_of_its_own_are_validated(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lines = [json.dumps({"q": f"{split} {number}?", "a": "Yes."}) for number in range(9)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    found = validate(str(tmp_path), columns={"question": "q", "answer": "a"}, split="test", max_rows=4)
    assert (found.num_samples, found.rejected) == (4, ())


class Noted(Silent):
    """A progress that keeps notes, and counts what bars move by."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def interrupted(data: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Validate until some chunks are counted, and stop as Ctrl-C does."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        add, calls = Total.add, []

        def noted(self: Total, chunk: chunks.Chunk, counted: Tally) -> None:
            calls.append(chunk)
            if len(calls) > after:
                raise KeyboardInterrupt
            add(self, chunk, counted)

        patch.setattr(Total, "add", noted)
        validate(str(data), metric="exact")


@pytest.fixture
def much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 900)
    monkeypatch.setattr(chunks, "_MUCH", 900)
    monkeypatch.setattr(dataset, "usable_cores", lambda: 1)


@pytest.mark.usefixtures("much")
def test_a_call_that_was_interrupted_is_gone_on_with_and_finds_the_same(
    data: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    whole = validate(str(data), metric="exact")
    interrupted(data, monkeypatch, after=4)
    read = []
    items = Tallier.items
    monkeypatch.setattr(
        Tallier, "items", lambda self, chunk, counted: read.append(chunk) or items(self, chunk, counted)
    )
    progress = Noted()
    found = validate(str(data), metric="exact", progress=progress)
    assert found.as_json() == whole.as_json()
    (note,) = progress.notes
    assert "rows were counted by a call that was interrupted; going on from there" in note
    # The chunk with a missing image is read again: the image may be there now.
    assert 0 < len(read) < len(prepared(str(data), None, None).chunks)
    assert not list((own_cache / "validate").iterdir())


@pytest.mark.usefixtures("much")
@pytest.mark.parametrize("change", ["file", "options", "damage", "locked"])
def test_what_was_counted_of_other_files_or_for_other_questions_is_not_taken(
    data: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, change: str
) -> None:
    interrupted(data, monkeypatch, after=4)
    (folder,) = (own_cache / "validate").iterdir()
    progress, metric = Noted(), "exact"
    if change == "file":
        data.write_bytes(data.read_bytes().replace(b"own 0", b"own 9", 1))
    elif change == "options":
        metric = "contains"
    elif change == "damage":
        for path in folder.glob("*.tally"):
            path.write_bytes(b"\x80")
    with lock.held(folder) if change == "locked" else nullcontext():
        found = validate(str(data), metric=metric, progress=progress)
    assert progress.notes == [] and found.num_samples > 80
    shutil.rmtree(own_cache / "validate")


@pytest.mark.usefixtures("much")
def test_a_home_that_cannot_be_written_costs_nothing_but_the_way_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ADAPTINF_CACHE", str(tmp_path / "file" / "cache"))
    assert validate(str(data)).num_samples > 80
