"""The part of the pool that a sample was selected from, where parts share the budget (docs/replay.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from adaptinf.data import SelectedPart, Selection
from adaptinf.runs import Run
from adaptinf.runs.composition import composition_of, side_name
from adaptinf.runs.usable import unusable_samples
from adaptinf.storage.tables import Columns


@dataclass(frozen=True, kw_only=True, eq=False)
class PartOf:
    """Where one sample stood in the selection of a step."""

    part: SelectedPart | None
    """Its part; None: no parts shared the budget, or it is in none of them."""
    number: int | None
    """Number of the part in the tables of the selection."""
    has_parts: bool
    """Whether parts shared the budget."""
    is_selectable: bool
    """Whether the sample could be selected at all."""
    ids: np.ndarray
    """Ids of the part; empty where there is none."""
    name: str
    """What the part consists of, in words."""

    @classmethod
    def of(cls, run: Run, step: int, id: str, selection: Selection) -> PartOf:
        """Return the part of a sample of a step's pool."""
        nothing = np.zeros(0, object)
        if not selection.parts:
            return cls(part=None, number=None, has_parts=False, is_selectable=True, ids=nothing, name="")
        pool = run.pool(step)
        is_usable = ~_is_among(pool.ids, unusable_samples(run, step))
        composition = composition_of(run, step, pool, is_usable)
        row = int(np.searchsorted(pool.ids, id))
        is_selectable = bool(is_usable[row])
        for number, part in enumerate(composition.parts if composition is not None else ()):
            if row in part.rows and number < len(selection.parts):
                found = selection.parts[number]
                name = side_name(found, [dataset.name for dataset in run.config.stream])
                return cls(
                    part=found, number=number, has_parts=True, is_selectable=is_selectable, ids=pool.ids[part.rows],
                    name=name,
                )  # fmt: skip
        return cls(part=None, number=None, has_parts=True, is_selectable=is_selectable, ids=nothing, name="")

    @property
    def is_whole(self) -> bool:
        """Whether no method chose in the part: it was selected whole, or the sample was in none."""
        return self.has_parts and (self.part is None or self.part.side == "kept")

    def reason(self, chosen: bool) -> str:
        """Return why a sample was or was not selected where no method decided; empty where one did."""
        if not self.is_whole or not self.is_selectable:
            return ""
        if self.part is not None:
            return "kept (selection.keep): drawn first, at the step at which it arrived"
        return "selected" if chosen else "its dataset has weight 0: nothing of it is selected"

    def is_beside(self, ids: np.ndarray) -> np.ndarray:
        """Return which ids are those of the part."""
        return _is_among(ids, self.ids)

    def rows_of(self, table: Columns) -> np.ndarray:
        """Return which rows of a table of the selection are those of the part; all where there are no parts."""
        if "part" not in table:
            return np.ones(len(table["cluster"]), bool)
        found: np.ndarray = table["part"] == (-1 if self.number is None else self.number)
        return found

    def total(self, num_selected: int) -> int:
        """Return how many samples were selected of the part, of all `num_selected` where there are no parts."""
        return num_selected if self.part is None else self.part.given

    @property
    def text(self) -> str:
        """The counts of the part, as the end of a sentence; empty where there is none."""
        if self.part is None:
            return ""
        return f"; {self.name}: {self.part.given:,} of {self.part.size:,}, wanted {self.part.wanted:,}"


def _is_among(ids: np.ndarray, wanted: Iterable[str]) -> np.ndarray:
    """Return which ids are wanted; `np.isin` compares texts pair by pair, which takes hours for a million."""
    those = set(wanted)
    return np.fromiter((id in those for id in ids), bool, len(ids))
