"""Which plug-ins there are, with one line each and where they come from."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptinf import registry
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class PluginEntry:
    """One plug-in."""

    kind: str
    """format, scorer, selector, metric or executor."""
    name: str
    """Its name in settings."""
    line: str
    """The first line of its documentation."""
    origin: str
    """The file or package that it comes from; empty for a built-in one."""


@dataclass(frozen=True)
class PluginList:
    """All known plug-ins, by kind and name."""

    entries: tuple[PluginEntry, ...]
    """One per plug-in."""

    def __repr__(self) -> str:
        kinds = dict.fromkeys(entry.kind for entry in self.entries)
        counts = [counted(sum(entry.kind == kind for entry in self.entries), kind) for kind in kinds]
        return f"PluginList({', '.join(counts)})"

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of one kind."""
        return tuple(entry.name for entry in self.entries if entry.kind == kind)

    def as_json(self) -> dict[str, dict[str, str]]:
        """Return kind -> name -> line."""
        found: dict[str, dict[str, str]] = {}
        for entry in self.entries:
            found.setdefault(entry.kind, {})[entry.name] = entry.line
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per plug-in: `kind`, `name`, `line`, `origin`."""
        names = ("kind", "name", "line", "origin")
        return as_frame({name: [getattr(entry, name) for entry in self.entries] for name in names})

    def _repr_html_(self) -> str:
        """Return all plug-ins as notebooks show them."""
        return as_html(repr(self), self.to_pandas(), max_rows=None)


def plugin_list() -> PluginList:
    """Return the plug-ins that the active scope knows."""
    return PluginList(
        tuple(
            PluginEntry(kind=kind.kind, name=name, line=_first_line(kind[name]), origin=registry.origin(kind[name]))
            for kind in registry.REGISTRIES
            for name in kind.names()
        )
    )


def _first_line(entry: Any) -> str:
    doc = inspect.getdoc(entry) or ""
    return doc.splitlines()[0] if doc else ""
