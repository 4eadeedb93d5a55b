"""The user's table of scores: ids, one column per score, and other columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adaptinf.errors import DataError
from adaptinf.storage.paths import why_no_file
from adaptinf.storage.tables import text_array

KNOWN_COLUMNS = ("arrived", "skill", "source")
"""Columns that are not scores: step of arrival, true skill, dataset."""
INDEX_PREFIX = "__index_level_"
"""Prefix of the columns in which pandas stores an index."""


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """The columns of one table, N rows."""

    ids: np.ndarray
    """N different ids (object array of str)."""
    scores: dict[str, np.ndarray]
    """Column name -> N float64, NaN for a missing value; infinities as they stand."""
    labels: np.ndarray | None
    """N int64 cluster numbers, -1 if the column has none; None without the column."""
    label_names: tuple[str, ...]
    """Names of the clusters in the order of their numbers, if the column holds texts."""
    arrived: np.ndarray | None
    """N int64, the step of arrival, -1 if unknown; None without the column."""
    skills: np.ndarray | None
    """N texts, empty if unknown; None without the column."""
    sources: np.ndarray | None
    """N texts, empty if unknown; None without the column."""
    ignored: tuple[str, ...]
    """Columns of other types, which are not used."""


def read_scores(path: Path, *, id_column: str = "id", label_column: str = "cluster") -> ScoreTable:
    """Return a table of scores: every column of numbers without another meaning is a score.

    Args:
        path: a Parquet file.
        id_column: texts or whole numbers, all different.
        label_column: whole numbers (negative or null: in no cluster) or texts; may be absent if it is the default.

    Raises:
        DataError: the file cannot be read, a column is missing or of the wrong kind, or an id is missing, occurs twice
            or has a line break.
    """
    table = _read(path)
    _check_column(path, table, id_column, "ids; name it with --ids COLUMN")
    if label_column != "cluster":
        _check_column(path, table, label_column, "labels")
    ids = _ids(path, table[id_column], id_column)
    labels, label_names = _labels(path, table, label_column)
    taken = {id_column, label_column, *KNOWN_COLUMNS}
    others = [name for name in table.column_names if name not in taken]
    is_score = {name: _is_number(table[name].type) and not name.startswith(INDEX_PREFIX) for name in others}
    return ScoreTable(
        ids=ids,
        scores={name: _floats(table[name]) for name in others if is_score[name]},
        labels=labels,
        label_names=label_names,
        arrived=_whole(path, table, "arrived"),
        skills=_texts(table, "skill"),
        sources=_texts(table, "source"),
        ignored=tuple(name for name in others if not is_score[name]),
    )


def numbered_rows(num_rows: int) -> ScoreTable:
    """Return a table without scores whose ids are the row numbers 0, 1, ..."""
    ids = text_array(range(num_rows))
    return ScoreTable(
        ids=ids, scores={}, labels=None, label_names=(), arrived=None, skills=None, sources=None, ignored=()
    )


def _read(path: Path) -> pa.Table:
    if problem := why_no_file(path):
        raise DataError(
            f"{path} is not a file, it {problem}; give a Parquet table with a column of ids and one column per score"
        )
    try:
        # Not read_table, which would add columns for folder names such as model=7b.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns named {twice[0]!r}; rename one of them")
    return table


def _check_column(path: Path, table: pa.Table, name: str, what: str) -> None:
    if name not in table.column_names:
        raise DataError(
            f"{path} has no column {name!r} of {what}; its columns: {', '.join(table.column_names) or 'none'}"
        )


def _ids(path: Path, column: pa.ChunkedArray, name: str) -> np.ndarray:
    if not (pa.types.is_integer(column.type) or _is_text(column.type)):
        raise DataError(f"{path}: column {name!r} has type {column.type}; ids must be texts or whole numbers")
    texts = column.cast(pa.large_string())
    if texts.null_count:
        missing = pc.index(texts.is_null(), pa.scalar(True)).as_py()
        raise DataError(f"{path}: row {missing} has no id; give every row one")
    ids = text_array(texts)
    # In one text: a loop over the ids of a large table takes many times as long.
    if len("".join(ids).splitlines()) > 1 or not all(ids):
        _refuse_unusual(path, ids)
    different = pc.count_distinct(texts).as_py()
    if different < len(ids):
        most, count = Counter(ids.tolist()).most_common(1)[0]
        raise DataError(
            f"{path}: {len(ids) - different} rows repeat the id of another row, {most!r} occurs {count} times; "
            "give every row an id of its own"
        )
    return ids


def _refuse_unusual(path: Path, ids: np.ndarray) -> None:
    """Refuse the first id that is empty or has a line break.

    Raises:
        DataError: with its row.
    """
    for row, value in enumerate(ids):
        if not value or len(value.splitlines()) != 1:
            raise DataError(
                f"{path}: row {row} has the id {value!r}; give ids of one line of text, as ids.txt has one per line"
            )


def _labels(path: Path, table: pa.Table, name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    texts = _texts(table, name) if name in table.column_names and _is_text(table[name].type) else None
    if texts is None:
        return _whole(path, table, name), ()
    names, numbers = np.unique(texts[texts != ""], return_inverse=True)
    labels = np.full(len(texts), -1, dtype=np.int64)
    labels[texts != ""] = numbers
    return labels, tuple(names)


def _whole(path: Path, table: pa.Table, name: str) -> np.ndarray | None:
    """Return a column of whole numbers, -1 for missing values; None without the column."""
    if name not in table.column_names:
        return None
    if not _is_number(table[name].type):
        raise DataError(f"{path}: column {name!r} has type {table[name].type}; it must hold whole numbers")
    numbers = _floats(table[name])
    known = np.isfinite(numbers)
    if (numbers[known] != np.floor(numbers[known])).any():
        raise DataError(f"{path}: column {name!r} must hold whole numbers")
    return np.where(known, numbers, -1).astype(np.int64)


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    floats: np.ndarray = np.asarray(column.to_numpy(), dtype=np.float64)  # a null comes as NaN
    return floats


def _texts(table: pa.Table, name: str) -> np.ndarray | None:
    if name not in table.column_names:
        return None
    return text_array(["" if value is None else value for value in table[name].to_pylist()])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    while pa.types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind) in ("string", "large_string", "string_view")
