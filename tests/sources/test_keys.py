"""Whether rows can have a key is told by the files' columns, or by their text."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptinf.sources import find_source, keys
from tests.helpers.data_files import rows, write_lines


def test_a_key_over_the_border_of_two_pieces_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = find_source(write_lines(tmp_path / "toys.jsonl", [*rows(0, 20), {"seldom": 1}]))
    size = (tmp_path / "toys.jsonl").stat().st_size
    for piece in range(len('"seldom"'), size + 1):
        monkeypatch.setattr(keys, "_PIECE_BYTES", piece)
        assert not keys.lacks_key(source, "seldom") and keys.lacks_key(source, "seldo")


def test_a_value_of_that_text_counts_as_a_key(tmp_path: Path) -> None:
    source = find_source(write_lines(tmp_path / "toys.jsonl", [{"a": "seldom"}, {"b": {"inner": 1}}]))
    assert [keys.lacks_key(source, key) for key in ("seldom", "inner", "a", "c")] == [False, False, False, True]
