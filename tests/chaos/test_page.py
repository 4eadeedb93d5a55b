"""docs/robustness.md holds the table of the attack, in the form in which the attack writes it."""

from __future__ import annotations

from tests.chaos.judging import Verdict
from tests.chaos.table import MARKED, PAGE

TEXT = PAGE.read_text(encoding="utf-8")
LINES = [line.strip("| ").split(" | ") for line in MARKED.findall(TEXT)[0].splitlines() if line.startswith("| ")]
HEAD, ROWS = LINES[0], {line[0]: [int(cell.replace(",", "")) for cell in line[1:]] for line in LINES[2:]}
CRASHES = (Verdict.SILENT_WRONG, Verdict.TRACEBACK, Verdict.SEGFAULT, Verdict.HANG)


def tries(kind: str) -> int:
    return sum(counts[0] for attack, counts in ROWS.items() if attack.startswith(kind))


def test_the_table_has_every_class_and_its_sums_are_right():
    assert HEAD == ["attack", "tries", *map(str, Verdict)]
    total = ROWS["all"]
    assert total == [sum(column) for column in zip(*(row for name, row in ROWS.items() if name != "all"), strict=True)]
    assert all(row[0] == sum(row[1:]) for row in ROWS.values())


def test_the_table_is_of_an_attack_that_is_large_enough():
    assert tries("flip, ") >= 3000
    assert tries("damaged file, ") >= 300
    assert tries("kill, ") >= 100
    assert tries("two commands at once") >= 100


def test_no_try_crashed_or_was_silently_wrong():
    assert [ROWS["all"][HEAD.index(verdict) - 1] for verdict in CRASHES] == [0, 0, 0, 0]


def test_the_page_names_the_command_versions_and_hardware():
    (made_by,) = [line for line in TEXT.splitlines() if line.startswith("Made by `python -m tests.chaos ")]
    assert "torch" in made_by and " cores of " in made_by


def test_every_row_is_explained():
    kinds = {attack.partition(",")[0] for attack in ROWS if attack != "all"}
    assert [kind for kind in sorted(kinds) if f"*{kind}" not in TEXT and f"{kind}*" not in TEXT] == []
