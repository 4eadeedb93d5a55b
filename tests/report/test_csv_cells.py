"""Cells of the tables that the page gives as CSV: none is a formula to a spreadsheet, a number stays a number."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from importlib.resources import files

import pytest

SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫")
BEFORE = ("", " ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", '"', "'", "“", " \n '\u200b")
FORMULAS = [f"{before}{sign}cmd|' /C calc'!A0" for before in BEFORE for sign in SIGNS] + [
    "\tx",
    "\rx",
    "\nx",
    "=1",
    "-2+3",
]
HARMLESS = [
    "",
    "a=1",
    "a\n=1",
    "1-2",
    "é",
    'say "hi"',
    "a;b",
    "a,b",
    "-1",
    "+2.5",
    "-1e-05",
    "-.5",
    "-3%",
    "'quoted'",
    "x\n",
]
NUMBERS = [-1, -0.5, 1e-7, 3, None]


@pytest.fixture(scope="module")
def cells() -> list[str]:
    """Every value as the page's own script writes it, read back by a reader of CSV."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, to run the script of the page")
    script = files("adaptinf.report").joinpath("page", "data.js").read_text(encoding="utf-8")
    begin, end = script.index("function csvCell"), script.index("function csvOf")
    values = json.dumps([*FORMULAS, *HARMLESS, *NUMBERS])
    script = f"{script[begin:end]};"
    code = f"{script} process.stdout.write({values}.map(csvCell).map((cell) => `x,${{cell}},y`).join('\\r\\n'))"
    done = subprocess.run([node, "-e", code], capture_output=True, check=True)
    rows = list(csv.reader(io.StringIO(done.stdout.decode("utf-8"), newline="")))
    assert all(row[0] == "x" and row[2] == "y" and len(row) == 3 for row in rows), "no value shifts a column"
    return [row[1] for row in rows]


def test_no_text_is_a_formula_and_all_others_come_back(cells):
    assert cells[: len(FORMULAS)] == [f"'{text}" for text in FORMULAS]
    assert cells[len(FORMULAS) : -len(NUMBERS)] == HARMLESS


def test_a_number_is_a_number(cells):
    assert [float(cell) if cell else None for cell in cells[-len(NUMBERS) :]] == NUMBERS
