"""The table: one row per attack, one column per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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


def write_page(rows: Sequence[Row], seed: int) -> None:
    """Write docs/robustness.md."""
