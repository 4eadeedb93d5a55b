"""The table: one row per attack, one column per class."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.chaos.judging import Verdict

BAD = tuple(verdict for verdict in Verdict if verdict is not Verdict.HELD)
"""Classes that must be empty."""


@dataclass(frozen=True)
class Row:
    """One attack."""

    attack: str
    """What was tried."""
    counts: Mapping[str, int]
    """Class -> tries that ended so."""

    @property
    def tries(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def rows_of(tried: Iterable[Mapping[str, str]]) -> list[Row]:
    """Return one row per attack, in alphabetical order."""
    counts: dict[str, dict[str, int]] = {}
    for item in tried:
        row = counts.setdefault(item["attack"], dict.fromkeys(map(str, Verdict), 0))
        row[str(item["verdict"])] += 1
    return [Row(attack, counts[attack]) for attack in sorted(counts)]


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table with a row of sums."""
    head = ["attack", "tries", *map(str, Verdict)]
    total = Row("all", {str(verdict): sum(row.counts[verdict] for row in rows) for verdict in Verdict})
    lines = [[row.attack, *(f"{count:,}" for count in (row.tries, *row.counts.values()))] for row in (*rows, total)]
    text = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in text)


PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
"""Where the table is kept."""
MARKED = re.compile(r"(?<=<!-- tries -->\n).*(?=<!-- end of tries -->)", re.DOTALL)
"""What the command writes of that page."""


def write_page(rows: Sequence[Row], words: Sequence[str], seconds: float) -> None:
    """Write the table into docs/robustness.md, with the command, versions, hardware and date."""
    command, date = " ".join(["python -m tests.chaos", *words]), datetime.now(UTC).date()
    made_by = f"Made by `{command}` in {seconds / 60:.0f} minutes, with {_versions()}, on {_hardware()}, {date}."
    text = MARKED.sub(lambda _: f"\n{made_by}\n\n{as_markdown(rows)}\n\n", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


def _versions() -> str:
    names = ("adaptinf", "torch", "transformers", "datasets", "pyarrow")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])


def _hardware() -> str:
    """Return the processor and its cores."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = next((line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {name}, {platform.system()} {platform.release()}"
