"""Every kind of source joins a run: rows read are rows kept and rejected; a damaged one is refused until repaired."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from adaptinf import config as configuration
from adaptinf.errors import DataError
from adaptinf.formats import read
from adaptinf.pool import stored_datasets
from adaptinf.runs import Run, stream
from tests.helpers.data_files import write_arrow, write_lines, write_parquet, write_tar

NUM_ROWS, BAD = 12, (3, 7)


def row(number: int) -> dict[str, Any]:
    """Return a row of a question and an answer; some have no answer."""
    return {"instruction": f"What is {number}?", "output": "" if number in BAD else f"It is {number}."}


ROWS = [row(number) for number in range(NUM_ROWS)]


def lines(folder: Path) -> Path:
    write_lines(folder / "0.jsonl", ROWS[:5])
    return write_lines(folder / "1.jsonl", ROWS[5:]).parent


def compressed(folder: Path) -> Path:
    for number, rows in enumerate((ROWS[:5], ROWS[5:])):
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(content))
    return folder


def table(folder: Path) -> Path:
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return folder / "a.csv"


def parquet(folder: Path) -> Path:
    for number in range(3):
        write_parquet(folder / "deep" / f"{number}.parquet", ROWS[4 * number : 4 * number + 4], group=2)
    return folder


def arrow(folder: Path) -> Path:
    return write_arrow(folder / "a.arrow", ROWS, batch=5)


def saved(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved", num_shards=2)
    return folder / "saved"


def tars(folder: Path) -> Path:
    for number in range(2):
        part = ROWS[6 * number : 6 * number + 6]
        files = {f"{number}/{place}.json": json.dumps(value) for place, value in enumerate(part)}
        write_tar(folder / f"{number}.tar", {**files})
    return folder


def in_memory(folder: Path) -> str:
    with fsspec.open("memory://kinds/a.jsonl", "wb") as file:
        file.write(write_lines(folder / "a.jsonl", ROWS).read_bytes())
    return "memory://kinds"


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()


def new_run(folder: Path, **dataset: Any) -> Run:
    text = {"model": {"path": "x"}, "stream": [{"name": "toy", **dataset}]}
    (folder / "s.yaml").write_text(json.dumps(text))
    return Run.create(folder / "run", configuration.load(folder / "s.yaml"))


@pytest.mark.parametrize("make", [lines, compressed, table, parquet, arrow, saved, tars, in_memory])
@pytest.mark.parametrize("most", [None, 6, 100])
def test_rows_that_are_read_are_kept_or_rejected(
    tmp_path: Path, make: Callable[[Path], Path | str], most: int | None
) -> None:
    (tmp_path / "data").mkdir()
    path = str(make(tmp_path / "data"))
    run = new_run(tmp_path, path=path, max_rows=most)
    info = stream.join(run, 0)
    assert info["rows"] + info["rejected"] == min(most or NUM_ROWS, NUM_ROWS)
    rejected = [json.loads(line) for line in (run.dataset_folder(0) / "rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == info["rejected"] and all(line["reason"] and line["row"] >= 0 for line in rejected)
    if most != 6:
        assert info["rejected"] == len(BAD)
        assert len(list(read(path))) == NUM_ROWS


def test_a_shard_of_another_schema_is_refused_and_the_same_command_goes_on_after_repair(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet(tmp_path / "data")
    broken = write_parquet(tmp_path / "data" / "deep" / "7.parquet", [{"instruction": "?", "answer": "!"}])
    run = new_run(tmp_path, path=str(tmp_path / "data"))
    with pytest.raises(DataError, match=r"7.parquet has other columns than 0.parquet: column 'output' is missing"):
        stream.join(run, 0)
    assert stored_datasets(run.pool_folder) == []
    write_parquet(broken, [row(12)])
    assert stream.join(run, 0)["rows"] == NUM_ROWS + 1 - len(BAD)


@pytest.mark.parametrize(
    ("make", "shard", "said"),
    [
        (parquet, "deep/1.parquet", "0 rows read, then Parquet that cannot be read"),
        (compressed, "1.jsonl.gz", "rows? read, then gzip data that cannot be read"),
        (tars, "0.tar", "rows read, then tar that cannot be read"),
        (arrow, "a.arrow", "rows read, then Arrow data that cannot be read"),
    ],
)
def test_a_shard_that_ends_early_is_refused_by_name_until_it_is_whole(
    tmp_path: Path, make: Callable[[Path], Path], shard: str, said: str
) -> None:
    (tmp_path / "data").mkdir()
    path = make(tmp_path / "data")
    file = tmp_path / "data" / shard
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - (5000 if shard.endswith(".tar") else 20)])
    run = new_run(tmp_path, path=str(path))
    with pytest.raises(DataError, match=rf"{file.name} cannot be read to its end: .*{said}"):
        stream.join(run, 0)
    assert stored_datasets(run.pool_folder) == []
    file.write_bytes(whole)
    assert stream.join(run, 0)["rows"] == NUM_ROWS - len(BAD)


def test_a_file_that_is_empty_is_named_when_its_dataset_joins(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet(tmp_path / "data")
    columns = datasets.Dataset.from_list(ROWS).select([])
    columns.to_parquet(tmp_path / "data" / "deep" / "9.parquet")
    info = stream.join(new_run(tmp_path, path=str(tmp_path / "data")), 0)
    assert info["rows"] == NUM_ROWS - len(BAD)
    assert [Path(shard["name"]).name for shard in info["shards"] if not shard["rows"]] == ["9.parquet"]


@pytest.mark.parametrize("values", [[], [{"instruction": "?", "output": ""}]])
def test_a_dataset_of_which_no_row_can_be_used_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any]
) -> None:
    run = new_run(tmp_path, path=str(write_lines(tmp_path / "a.jsonl", values)))
    notes: list[str] = []
    monkeypatch.setattr(type(run.progress), "note", lambda self, text: notes.append(text))
    assert stream.join(run, 0)["rows"] == 0
    assert "toy: not one of its rows can be used, so its step has nothing new to learn" in notes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"a\.jsonl has no row, so more does not join the pool"),
        (
            [{"instruction": "?", "output": ""}] * 2,
            r"not one of 2 rows of .*a\.jsonl can be used, .* \(row 0 of .*a\.jsonl: empty answer .*validate",
        ),
    ],
)
def test_a_dataset_that_is_added_without_a_row_to_use_does_not_join(
    tmp_path: Path, values: list[Any], message: str
) -> None:
    run = new_run(tmp_path, path=str(write_lines(tmp_path / "toy.jsonl", ROWS)))
    stream.join(run, 0)
    path = str(write_lines(tmp_path / "a.jsonl", values))
    more = configuration.parse_dataset({"name": "more", "path": path})
    before = run.config_file.read_text()
    with pytest.raises(DataError, match=message):
        stream.add(run, more)
    assert [dataset.name for dataset in stored_datasets(run.pool_folder)] == ["toy"]
    assert run.config_file.read_text() == before


def test_columns_that_name_images_that_nothing_reads_are_told_when_a_dataset_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**row, "picture": "gone/1.JPG", "source": "web"} for row in ROWS]
    run = new_run(tmp_path, path=str(write_lines(tmp_path / "a.jsonl", rows)))
    notes: list[str] = []
    monkeypatch.setattr(type(run.progress), "note", lambda self, text: notes.append(text))
    stream.join(run, 0)
    (line,) = [note for note in notes if "look like images" in note]
    assert line == (
        "toy: values of picture look like images, which nothing reads; columns: {image: KEY} reads them, or leave the "
        "column out"
    )
