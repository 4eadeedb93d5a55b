"""Checked: what the model cannot use of a step's new dataset, known before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adaptinf.storage import store, tables, verified
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd

UNUSABLE = "unusable.parquet"
"""Table of the samples that cannot be trained on: id, reason."""

CONTENT = "content"
"""Key of info.json: hash of the rows of the dataset, kept outside of its folder, so that another one is noticed."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The samples of a new dataset that template or `max_length` leave without an answer; they are not selectable."""

    stage: ClassVar[str] = "check"

    unusable: dict[str, str] = field(default_factory=dict)
    """Id of each sample that cannot be trained on -> why."""
    info: dict[str, Any] = field(default_factory=dict)
    """Counts: samples refused, cut, merged, without an end token; unknown tokens; the fitting `max_length`."""

    def save(self, folder: Path) -> None:
        """Write unusable.parquet and info.json."""
        save_unusable(folder, self.unusable)
        tables.write_json(folder / store.INFO, self.info)

    @classmethod
    def load(cls, folder: Path) -> Checked:
        """Return the saved check."""
        return cls(unusable=load_unusable(folder), info=cls.load_info(folder))

    @classmethod
    def load_info(cls, folder: Path) -> dict[str, Any]:
        """Return the counts; nothing else is read."""
        return tables.read_record(folder / store.INFO, rows=int)

    def __repr__(self) -> str:
        return f"Checked({counted(self.info.get('rows', 0), 'sample')}, {len(self.unusable):,} not usable)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per sample that cannot be used: `id`, `reason`."""
        return as_frame({"id": list(self.unusable), "reason": list(self.unusable.values())})

    def _repr_html_(self) -> str:
        """Return those samples as notebooks show them."""
        return as_html(repr(self), self.to_pandas())


def save_unusable(folder: Path, unusable: Mapping[str, str]) -> None:
    """Write id and reason of samples that cannot be used."""
    columns = {"id": list(unusable), "reason": list(unusable.values())}
    tables.write_table(folder / UNUSABLE, {name: tables.text_array(texts) for name, texts in columns.items()})


def load_unusable(folder: Path) -> dict[str, str]:
    """Return the samples that cannot be used; none for a folder of version 0.1, which does not say."""
    if not verified.is_there(folder / UNUSABLE):
        return {}
    ids, reasons = tables.read_texts(folder / UNUSABLE, "id", "reason")
    return dict(zip(ids.to_pylist(), reasons.to_pylist(), strict=True))
