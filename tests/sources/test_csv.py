"""Tables as text: every row with as many values as the header, the others rejected by number."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.errors import DataError
from adaptinf.sources import NoRows, find_source, read_shard
from tests.helpers.data_files import read_all, values_of

# Python's writer leaves a lone carriage return unquoted in some versions, which no reader takes as text.
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
@given(values=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), ending=st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=50, deadline=None)
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    delimiter: str,
    values: list[tuple[str, str]],
    ending: str,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("instruction", "out put"), *values])
    path = written(tmp_path_factory.getbasetemp() / name, text.getvalue())
    assert values_of(path) == [{"instruction": one, "out put": other} for one, other in values]


def test_values_stay_text_and_a_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "\ufeffid,score,text\n000042,1.50,\n\n7,,NaN\n")
    first, second = values_of(path)
    assert first == {"id": "000042", "score": "1.50", "text": ""}
    assert second == {"id": "7", "score": "", "text": "NaN"}


def test_a_broken_row_is_rejected_by_its_number_and_the_next_ones_are_read(tmp_path: Path) -> None:
    text = 'a,b\n1,2\n1,2,3\n1\n"x"y,2\n3,4\n5,"never closed\n6,7\n'
    found = read_all(written(tmp_path / "a.csv", text))
    assert [row.number for row in found] == list(range(6))
    assert [row.value for row in found] == [{"a": "1", "b": "2"}, None, None, None, {"a": "3", "b": "4"}, None]
    assert [row.problem for row in found][1:4] == [
        "broken row: 3 values for 2 columns",
        "broken row: 1 values for 2 columns",
        "broken row at line 5: ',' expected after '\"'",
    ]
    assert (found[5].problem or "").endswith("the quotes opened in line 7 may not be closed") and found[5].ends_file
    assert not any(row.ends_file for row in found[:5])


def test_a_row_that_is_too_large_is_refused_alone_unless_its_quotes_take_in_the_next_ones(tmp_path: Path) -> None:
    text = "a,b\n1," + "x" * 3000 + '\n2,y\n3,"never closed\n' + "4,z\n" * 1000
    found = read_all(written(tmp_path / "a.csv", text), max_row_bytes=1000)
    assert len(found) == 3 and [row.ends_file for row in found] == [False, False, True]
    assert (found[2].problem or "").endswith("the quotes opened in line 4 may not be closed")
    assert found[0].value is None and "at most 1,000 are read" in (found[0].problem or "")
    assert found[1].value == {"a": "2", "b": "y"}
    assert found[2].value is None and "at most 1,000 are read" in (found[2].problem or "")


def test_a_cell_may_be_longer_than_the_limit_of_the_library(tmp_path: Path) -> None:
    image = "iVBORw0KGgo" * 20_000
    assert values_of(written(tmp_path / "a.csv", f"image,text\n{image},a\n")) == [{"image": image, "text": "a"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,a\n1,2,3\n", "has the column 'a' twice in its header"),
        ("a;b\n1;2\n", "has one column, 'a;b', that seems to be separated by ';'"),
        ("a\tb\n1\t2\n", r"that seems to be separated by '\\t'"),
        (b"a,b\n\xff\xfe,2\n", "is not UTF-8 text"),
        ('"a,b\n', "has no header that can be read"),
    ],
)
def test_a_file_without_a_header_that_fits_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_all(written(tmp_path / "a.csv", text))


def test_an_empty_file_has_no_rows_and_a_header_alone_is_no_error(tmp_path: Path) -> None:
    with pytest.raises(NoRows, match="is empty"):
        read_all(written(tmp_path / "a.csv", "\n\n"))
    assert read_all(written(tmp_path / "a.csv", "a,b\n")) == []


def test_shards_have_the_same_columns_in_any_order(tmp_path: Path) -> None:
    written(tmp_path / "0.csv", "a,b\n1,2\n")
    written(tmp_path / "1.csv", "b,a\n3,4\n")
    assert values_of(tmp_path) == [{"a": "1", "b": "2"}, {"a": "4", "b": "3"}]
    written(tmp_path / "2.csv", "a\n5\n")
    with pytest.raises(DataError, match=r"2.csv has other columns than 0.csv: column 'b' is missing"):
        list(read_shard(find_source(tmp_path).shards[2]))
