"""Columns of a question and its answer that are named on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptinf.cli.options import named_columns
from adaptinf.errors import ConfigError
from adaptinf.pool import stored_datasets


def test_names_and_columns_are_read_in_pairs() -> None:
    assert named_columns(None) is None
    assert named_columns("question=q, answer=the answer") == {"question": "q", "answer": "the answer"}
    assert named_columns("question=a=b,answer=c") == {"question": "a=b", "answer": "c"}
    for text in ("question", "question=,answer=a", "", "=q"):
        with pytest.raises(ConfigError, match="expected KEY=COLUMN,... such as question=q,answer=a"):
            named_columns(text)
    with pytest.raises(ConfigError, match="question stands there twice"):
        named_columns("question=a,question=b")


def test_inspect_reads_rows_by_columns(call, tmp_path: Path) -> None:
    data = tmp_path / "quiz.json"
    data.write_text(json.dumps([{"q": "2 + 2?", "a": 4, "key": "x"}]))
    code, out, _ = call("inspect", data, "x", "--columns", "question=q,answer=a,id=key")
    assert code == 0 and "2 + 2?" in out
    code, _, err = call("inspect", data, "x", "--columns", "question=q,answer=b")
    assert code == 2 and "quiz.json has no column 'b' (columns.answer); its first row has q, a, key; correct it" in err
    code, _, err = call("inspect", data, "x", "--columns", "question=q,answer=a", "--format", "llava")
    assert code == 2 and "columns and format: llava are both given; keep one of them" in err


def test_add_reads_rows_by_columns(call, tmp_path: Path) -> None:
    data = tmp_path / "quiz.json"
    data.write_text(json.dumps([{"q": "2 + 2?", "a": 4}, {"q": "2 + 3?", "a": ""}]))
    assert call("init", tmp_path / "run", "--model", "some/model")[0] == 0
    code, out, err = call("add", tmp_path / "run", data, "--columns", "question=q,answer=a")
    assert code == 0, err
    assert "1 sample added, 1 rejected" in out
    (dataset,) = (tmp_path / "run" / "pool").glob("0*")
    assert json.loads((dataset / "info.json").read_text())["columns"] == {"question": "q", "answer": "a"}


def test_validate_names_the_format_that_it_found(call, tmp_path: Path) -> None:
    data = tmp_path / "quiz.json"
    data.write_text(json.dumps([{"instruction": "2 + 2?", "output": "4", "q": "Q", "a": "A"}]))
    assert call("validate", data, "--quiet")[1].splitlines()[1] == "format: alpaca"
    assert json.loads(call("validate", data, "--quiet", "--json")[1])["format"] == "alpaca"
    named = call("validate", data, "--quiet", "--columns", "question=q,answer=a")[1]
    assert named.splitlines()[1] == "format: columns"


def test_run_refuses_a_misspelt_column_before_it_reads_the_rows(call, tmp_path: Path) -> None:
    rows = [{"instruction": "2 + 2?", "output": "4", "ratings": number} for number in range(3)]
    (tmp_path / "quiz.json").write_text(json.dumps(rows))
    settings = "selection: {method: adapt, scorers: ['column:rating']}"
    (tmp_path / "s.yaml").write_text(
        f"model: {{path: {tmp_path}}}\nstream: [{{name: quiz, path: quiz.json}}]\n{settings}"
    )
    code, _, err = call("run", tmp_path / "s.yaml", "--out", tmp_path / "run")
    said = "selection names column:rating, but no row of quiz has that column; did you mean 'ratings'? known: ratings"
    assert code == 2 and said in " ".join(err.split())
    assert not (tmp_path / "run" / "pool").exists()


def test_add_refuses_a_dataset_without_a_usable_row(call, tmp_path: Path) -> None:
    assert call("init", tmp_path / "run", "--model", "some/model")[0] == 0
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    rows = [{"instruction": "2 + 2?", "output": ""}, {"instruction": "2 + 3?", "output": ""}]
    for content, said in (
        (rows, "not one of 2 rows of {path} can be used, so quiz does not join the pool (row 0 of "),
        ([], "{path} has no row, so quiz does not join the pool; check the path"),
    ):
        data = tmp_path / "quiz.json"
        data.write_text(json.dumps(content))
        code, out, err = call("add", tmp_path / "run", data, "--format", "alpaca", "--quiet")
        assert (code, out) == (2, ""), err
        (line,) = err.splitlines()
        assert line.startswith("adaptinf: ") and said.format(path=data) in line
        assert (tmp_path / "run" / "config.yaml").read_bytes() == before
        assert stored_datasets(tmp_path / "run" / "pool") == []
    data.write_text(json.dumps([{"instruction": "2 + 2?", "output": "4"}]))
    assert call("add", tmp_path / "run", data)[0] == 0
