"""The page on row formats lists every format with its keys, and each of its rows is read as that format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from adaptinf.data import Sample
from adaptinf.formats import read
from adaptinf.formats.detection import Detected, detect
from adaptinf.registry import dataset_format

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
SECTIONS = {section.partition("\n")[0]: section for section in PAGE.split("\n## ")[1:]}
ROWS = [
    (name, json.loads(block))
    for name, section in SECTIONS.items()
    for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)
]


def test_every_format_has_a_section_with_a_row_and_a_line_in_the_table() -> None:
    assert list(SECTIONS) == dataset_format.names() == sorted({name for name, _ in ROWS})
    table = re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\) \|", PAGE, re.MULTILINE)
    assert table == [(name, name) for name in SECTIONS]


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_row_of_the_page_is_read_as_its_format(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    found = detect("page.json", [row])
    assert isinstance(found, Detected) and found.name == name
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| [`{name}`]"))
    assert set(row) & set(re.findall(r"`(\w+)`", line.rpartition(" | ")[2])), "the table names a key of the row"
    (tmp_path / "page.json").write_text(json.dumps([row]))
    (sample,) = read(tmp_path / "page.json", check_images=False)
    assert isinstance(sample, Sample), sample
    assert sample.turns[-1][0] == "assistant"
