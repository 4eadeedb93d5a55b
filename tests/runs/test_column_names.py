"""A misspelt `column:NAME` is refused before a row is taken, where files tell that no row can have the column."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptinf import config as configuration
from adaptinf.runs import Run, column_names, stream
from tests.helpers.data_files import write_arrow, write_lines, write_parquet, write_tar

WRONG, RIGHT = "column:relevance_rating", "column:relevance_ratings"
TEXT = {"instruction": "What is this?", "output": "A street."}
NUM_ROWS = 300


def rated(*, since: int = 0, names: tuple[str, ...] = ("relevance_ratings", "length")) -> list[dict[str, Any]]:
    """Return rows that have numbers from one of them on."""
    return [TEXT | ({name: row for name in names} if row >= since else {}) for row in range(NUM_ROWS)]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write_lines(path.with_suffix(".jsonl"), rows)


def text(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.with_suffix(".json").write_text(json.dumps(rows))
    return path.with_suffix(".json")


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
    return path.with_suffix(".csv")


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    whole = [rows[-1] | dict.fromkeys(rows[-1].keys() - row.keys()) | row for row in rows]
    for number in range(2):
        write_parquet(path / f"{number}.parquet", whole[number::2])
    return path


def arrow(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write_arrow(path.with_suffix(".arrow"), rows[-1:] + rows)


def config_of(folder: Path, *paths: Path, scorers: tuple[str, ...] = (WRONG,), **entry: Any) -> configuration.RunConfig:
    datasets = [{"name": path.stem, "path": str(path), **entry} for path in paths]
    selection = {"method": "adapt", "scorers": list(scorers)}
    settings: dict[str, Any] = {"model": {"path": "x"}, "stream": datasets, "selection": selection}
    return configuration.resolve(configuration.parse(settings, where="test"), folder)


@pytest.mark.parametrize("write", [lines, text, table, parquet, arrow])
def test_a_column_that_no_row_has_is_refused_with_the_nearest_ones(
    tmp_path: Path, write: Callable[[Path, list[dict[str, Any]]], Path]
) -> None:
    path = write(tmp_path / "toys", rated())
    assert column_names.problems(config_of(tmp_path, path), None) == [
        "selection names column:relevance_rating, but no row of toys has that column; "
        "did you mean 'relevance_ratings'? known: length, relevance_ratings"
    ]
    assert column_names.problems(config_of(tmp_path, path, scorers=(RIGHT, "el2n")), None) == []
    (line,) = column_names.problems(config_of(tmp_path, path, scorers=(RIGHT, "column:lenght")), None)
    assert "did you mean 'length'?" in line


@pytest.mark.parametrize("write", [lines, text, parquet])
def test_a_column_of_later_rows_alone_is_not_refused(
    tmp_path: Path, write: Callable[[Path, list[dict[str, Any]]], Path]
) -> None:
    path = write(tmp_path / "toys", rated(since=NUM_ROWS - 2))
    assert column_names.problems(config_of(tmp_path, path, scorers=(RIGHT,)), None) == []
    assert len(column_names.problems(config_of(tmp_path, path), None)) == 1


def test_what_cannot_be_known_in_a_moment_is_left_to_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines(tmp_path / "toys", rated())
    compressed = tmp_path / "small.jsonl.gz"
    compressed.write_bytes(gzip.compress(found.read_bytes()))
    tar = write_tar(tmp_path / "tar.tar", {"0.json": json.dumps(rated()[0])})
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no table")
    unusable = lines(tmp_path / "unusable", [{"instruction": "?", "output": ""}])
    for path in (compressed, tar, broken, unusable, tmp_path / "gone.json"):
        assert column_names.problems(config_of(tmp_path, path), None) == [], path
    assert column_names.problems(config_of(tmp_path, found, scorers=('column:"quoted"', "column:größe")), None) == []
    monkeypatch.setattr("adaptinf.sources.keys.MAX_SEARCHED_BYTES", 1000)
    assert column_names.problems(config_of(tmp_path, found), None) == []


def test_addresses_and_names_of_the_hub_are_not_asked(tmp_path: Path) -> None:
    for path in ("memory://nowhere/a.jsonl", "owner/toys"):
        config = config_of(tmp_path, lines(tmp_path / "toys", rated()))
        config = config.model_copy(update={"stream": [config.stream[0].model_copy(update={"path": path})]})
        assert column_names.problems(config, None) == []


def test_fields_inside_of_columns_may_be_keys(tmp_path: Path) -> None:
    rows = [row | {"others": [{"relevance_rating": 1}]} for row in rated()]
    assert column_names.problems(config_of(tmp_path, parquet(tmp_path / "toys", rows)), None) == []


def test_a_method_without_scorers_and_keys_of_every_row_are_not_looked_for(tmp_path: Path) -> None:
    config = config_of(tmp_path, lines(tmp_path / "toys", rated()), scorers=(WRONG, "column:skill"))
    assert len(column_names.problems(config, None)) == 1
    for method in ("random_replay", "no_such_method"):
        selection = config.selection.model_copy(update={"method": method})
        assert column_names.problems(config.model_copy(update={"selection": selection}), None) == []


def test_the_datasets_of_the_next_step_count(tmp_path: Path) -> None:
    first, second = lines(tmp_path / "first", rated(names=("length",))), lines(tmp_path / "second", rated())
    config = config_of(tmp_path, first, second, scorers=(RIGHT,))
    assert len(column_names.problems(config, None)) == 1
    run = Run.create(tmp_path / "run", config)
    stream.join(run, 0)
    first.unlink()
    (line,) = column_names.problems(config, run.folder)
    assert "no row of first has that column; known: length" in line
    other = Run.create(tmp_path / "other", config_of(tmp_path, second, scorers=(RIGHT,)))
    stream.join(other, 0)
    assert column_names.problems(other.config, other.folder) == []
