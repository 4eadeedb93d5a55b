"""Columns of a question and its answer that are named on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptinf.cli.options import named_columns
from adaptinf.errors import ConfigError


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
