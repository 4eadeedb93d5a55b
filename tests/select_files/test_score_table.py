"""Tables of scores as others write them: which column is what, and what is wrong with it in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adaptinf.errors import DataError
from adaptinf.select_files.score_table import read_scores


def write(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "scores.parquet")
    return folder / "scores.parquet"


def test_numbers_are_scores_and_everything_else_is_named_or_ignored(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        id=["b", "a", "c"],
        loss=pa.array([0.5, None, np.inf], pa.float32()),
        turns=[1, 2, 3],
        half=pa.array(np.float16([1, 2, 3])),
        source=["x", None, "y"],
        skill=pa.array(["see", "see", None]).dictionary_encode(),
        arrived=[0, 1, 1],
        cluster=pa.array([2, None, -5], pa.int32()),
        note=["", "", ""],
        sure=[True, False, True],
        __index_level_0__=[0, 1, 2],
    )
    table = read_scores(path)
    assert table.ids.tolist() == ["b", "a", "c"]
    assert list(table.scores) == ["loss", "turns", "half"]
    np.testing.assert_array_equal(table.scores["loss"], [0.5, np.nan, np.inf])
    assert all(score.dtype == np.float64 for score in table.scores.values())
    assert table.ignored == ("note", "sure", "__index_level_0__")
    assert table.labels is not None and table.labels.tolist() == [2, -1, -5]
    assert table.arrived is not None and table.arrived.tolist() == [0, 1, 1]
    assert table.sources is not None and table.sources.tolist() == ["x", "", "y"]
    assert table.skills is not None and table.skills.tolist() == ["see", "see", ""]


def test_only_ids_are_needed_and_they_may_be_numbers(tmp_path: Path) -> None:
    table = read_scores(write(tmp_path, question=[7, 10, 9]), id_column="question")
    assert table.ids.tolist() == ["7", "10", "9"]
    assert table.scores == {} and table.labels is None and table.sources is None


def test_texts_can_be_clusters(tmp_path: Path) -> None:
    path = write(tmp_path, id=list("abcd"), task=["vqa", "ocr", None, "vqa"])
    table = read_scores(path, label_column="task")
    assert table.labels is not None and table.labels.tolist() == [1, 0, -1, 1]
    assert table.label_names == ("ocr", "vqa") and table.scores == {}


@pytest.mark.parametrize(
    ("columns", "options", "reason"),
    [
        ({"name": ["a"]}, {}, "has no column 'id' of ids; name it with --ids COLUMN; its columns: name"),
        ({"id": ["a"]}, {"label_column": "task"}, "has no column 'task' of labels; its columns: id"),
        ({"id": [0.5]}, {}, "column 'id' has type double; ids must be texts or whole numbers"),
        ({"id": ["a", None]}, {}, "row 1 has no id"),
        ({"id": ["a", ""]}, {}, "row 1 has the id ''"),
        ({"id": ["a\nb"]}, {}, r"row 0 has the id 'a\\nb'; give ids of one line"),
        ({"id": ["a", "b", "a", "a"]}, {}, "2 rows repeat the id of another row, 'a' occurs 3 times"),
        ({"id": ["a"], "cluster": [0.5]}, {}, "column 'cluster' must hold whole numbers"),
        ({"id": ["a"], "arrived": ["now"]}, {}, "column 'arrived' has type string; it must hold whole numbers"),
    ],
)
def test_a_wrong_table_is_told_in_words(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, str], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        read_scores(write(tmp_path, **columns), **options)


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        read_scores(tmp_path / "scores.parquet")
    (tmp_path / "scores.csv").write_text("id,loss\na,1\n")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_scores(tmp_path / "scores.csv")
    twice = pa.table([pa.array(["a"]), pa.array([1.0]), pa.array([2.0])], names=["id", "loss", "loss"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="has two columns named 'loss'"):
        read_scores(tmp_path / "twice.parquet")
