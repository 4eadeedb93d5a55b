"""Addresses that fsspec opens, and names of the hub: their files, their faults in one line, what tells them apart."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import fsspec
import huggingface_hub
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from adaptinf.errors import DataError
from adaptinf.sources import find_source, fingerprints, read_shard
from tests.helpers.data_files import (
    read_all,
    rows,
    values_of,
    write_arrow,
    write_lines,
    write_parquet,
    write_tar,
)

COMMIT = "a" * 40


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files `upload` copies to memory://data/."""
    yield tmp_path
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def upload(folder: Path, address: str = "memory://data") -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with fsspec.open(f"{address}/{path.relative_to(folder)}", "wb") as file:
                file.write(path.read_bytes())


def refused(path: str, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        find_source(path, **options)
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow", "a.tar", "a.jsonl.gz"])
def test_every_kind_of_file_is_read_from_an_address(memory: Path, name: str) -> None:
    path = memory / name
    wanted: list[Mapping[str, Any]] = [*rows(0, 3)]
    if name == "a.json":
        path.write_text(json.dumps(wanted))
    elif name == "a.csv":
        path.write_text("number,text\n0,text 0\n")
        wanted = [{"number": "0", "text": "text 0"}]
    elif name == "a.parquet":
        write_parquet(path, wanted, group=2)
    elif name == "a.arrow":
        write_arrow(path, wanted, batch=2)
    elif name == "a.tar":
        write_tar(path, {f"{row['number']}.json": json.dumps(row) for row in wanted})
        wanted = [{"__key__": str(row["number"]), **row} for row in wanted]
    elif name == "a.jsonl":
        write_lines(path, wanted)
    else:
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in wanted).encode()))
    upload(memory)
    assert values_of(f"memory://data/{name}") == wanted
    assert values_of("memory://data") == wanted
    source = find_source("memory://data")
    assert source.folder is None and source.shards[0].name == f"memory://data/{name}"


def test_an_address_may_be_a_folder_with_subsets_and_splits_or_a_pattern(memory: Path) -> None:
    write_parquet(memory / "x" / "train-0.parquet", rows(0, 2))
    write_parquet(memory / "x" / "test-0.parquet", rows(2, 3))
    write_parquet(memory / "y" / "train-0.parquet", rows(3, 4))
    (memory / ".hidden.parquet").touch()
    upload(memory)
    assert values_of("memory://data", subset="x", split="test") == rows(2, 3)
    assert values_of("memory://data/**/train-*.parquet") == [*rows(0, 2), *rows(3, 4)]
    assert "files of several splits" in refused("memory://data")
    assert "no subset 'z'" in refused("memory://data", subset="z")


def test_a_saved_folder_and_a_dataset_info_are_read_from_an_address(memory: Path) -> None:
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows(0, 3))}).save_to_disk(memory / "saved")
    write_lines(memory / "info" / "a.jsonl", rows(0, 2))
    (memory / "info" / "dataset_info.json").write_text('{"a": {"file_name": "a.jsonl", "formatting": "sharegpt"}}')
    upload(memory)
    assert values_of("memory://data/saved") == rows(0, 3)
    assert values_of("memory://data/info") == rows(0, 2)
    assert (find_source("memory://data/info").description or {})["formatting"] == "sharegpt"


def test_damage_of_a_remote_file_is_one_problem(memory: Path) -> None:
    path = write_parquet(memory / "a.parquet", rows(0, 10))
    path.write_bytes(path.read_bytes()[:-10])
    upload(memory)
    assert read_all("memory://data/a.parquet")[-1].ends_file


def test_what_is_not_there_or_cannot_be_opened_is_one_line(memory: Path) -> None:
    write_lines(memory / "a.txt", rows(0, 1))
    upload(memory)
    assert refused("memory://data/none.jsonl") == "memory://data/none.jsonl does not exist"
    assert "memory://data/a.txt is no data file" in refused("memory://data/a.txt")
    assert "folder memory://data holds no data file" in refused("memory://data")
    assert "Protocol not known" in refused("nothing://a/b.jsonl")


def test_a_protocol_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"class": "no_such_package.FileSystem", "err": "Install no_such_package to access it"}
    monkeypatch.setitem(known_implementations, "lost", about)
    said = refused("lost://bucket/a.parquet")
    assert "needs a package that is not installed: Install no_such_package to access it" in said


def test_a_network_that_fails_while_rows_are_read_is_one_line(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(write_lines(memory / "a.jsonl", rows(0, 3)).parent)
    (shard,) = find_source("memory://data/a.jsonl").shards

    def fail(*args: Any, **options: Any) -> Any:
        raise ConnectionError("the line\nis down")

    monkeypatch.setattr(MemoryFileSystem, "_open", fail)
    with pytest.raises(DataError, match=r"a.jsonl cannot be read \(ConnectionError: the line is down\); check the"):
        list(read_shard(shard))


def test_a_remote_file_that_is_written_again_has_another_fingerprint(memory: Path) -> None:
    upload(write_lines(memory / "a.jsonl", rows(0, 3)).parent)
    first = fingerprints(find_source("memory://data"))
    assert fingerprints(find_source("memory://data")) == first
    upload(write_lines(memory / "a.jsonl", rows(1, 4)).parent)
    assert fingerprints(find_source("memory://data")) != first


class Hub(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The hub's file system, with its files in memory."""

    protocol = ("hf",)
    store: dict[str, Any] = {}  # noqa: RUF012  # as in the class above
    pseudo_dirs = [""]  # noqa: RUF012


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that has one data set, owner/toys, with two subsets; the list has what it was asked."""
    asked: list[str] = []
    prefix = f"hf://datasets/owner/toys@{COMMIT}"
    files = {
        "one": {"train": ["one/0.parquet", "one/1.parquet"]},
        "two": {"train": ["two/0.parquet"], "test": ["t.parquet"]},
    }

    def dataset_info(self: object, name: str, **options: Any) -> Any:
        asked.append(name)
        assert options["timeout"] <= 10
        return SimpleNamespace(sha=COMMIT)

    def builder(path: str, name: str, revision: str) -> Any:
        assert revision == COMMIT
        found = {split: [f"{prefix}/{file}" for file in names] for split, names in files[name].items()}
        return SimpleNamespace(config=SimpleNamespace(data_files=found))

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, revision: list(files))
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    fsspec.register_implementation("hf", Hub, clobber=True)
    folder = tmp_path / "hub"
    for number, name in enumerate(["one/0.parquet", "one/1.parquet", "two/0.parquet", "t.parquet"]):
        write_parquet(folder / name, rows(number, number + 1))
    upload(folder, prefix)
    yield asked
    Hub.store.clear()
    fsspec.register_implementation("hf", huggingface_hub.HfFileSystem, clobber=True)


def test_a_name_of_the_hub_stands_for_the_files_of_a_subset_and_split_at_one_commit(hub: list[str]) -> None:
    assert values_of("owner/toys", subset="one") == rows(0, 2)
    assert values_of("owner/toys", subset="two", split="test") == rows(3, 4)
    source = find_source("owner/toys", subset="one", split="train")
    assert source.folder is None and source.name == "toys"
    assert [tag for _, _, tag in fingerprints(source)] == [COMMIT, COMMIT]
    assert "owner/toys has the subsets one, two; name one with subset" in refused("owner/toys")
    assert "has the splits train, test; name one with split" in refused("owner/toys", subset="two")
    assert "did you mean 'one'?" in refused("owner/toys", subset="once")
    assert "no split 'dev'; it has train" in refused("owner/toys", subset="one", split="dev")


def test_an_entry_of_a_dataset_info_may_lead_to_the_hub(hub: list[str], tmp_path: Path) -> None:
    entry = {"hf_hub_url": "owner/toys", "subset": "two", "split": "test", "formatting": "sharegpt"}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"toys": entry}))
    assert values_of(tmp_path / "dataset_info.json", subset="toys") == rows(3, 4)


def test_a_folder_of_the_same_name_wins(hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "owner" / "toys" / "a.jsonl", rows(7, 8))
    monkeypatch.chdir(tmp_path)
    assert values_of("owner/toys") == rows(7, 8)
    assert hub == []


def test_a_name_of_the_hub_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class ConnectError(Exception):
        """As the library raises that the hub is asked with: of no class that Python knows."""

    def dataset_info(self: object, name: str, **options: Any) -> Any:
        raise ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    said = refused("owner/toys")
    assert said.startswith("owner/toys is no file or folder, and the hub cannot be asked")
    assert "(ConnectError)" in said


def test_an_empty_path_is_refused() -> None:
    assert "the path of a dataset is empty" in refused("")


def test_a_path_that_can_only_be_local_is_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def dataset_info(self: object, name: str, **options: Any) -> Any:
        raise AssertionError(name)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    for path in ("data/a.json", "a.parquet", "./owner/toys", "/owner/toys", "../toys", "a/b/c", "~/toys"):
        assert "does not exist" in refused(path), path
