"""Scopes: which plug-ins a lookup sees, those of the whole process and those of one run's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from adaptinf.errors import ConfigError

# Any, here and below: each kind of plug-in has its own protocol, in the package that is its home.


class Registered(NamedTuple):
    """One plug-in."""

    kind: str
    """Kind of plug-in: scorer, selector, ..."""
    name: str
    """Its name."""
    entry: Any
    """The class or function."""


class Scope:
    """The plug-ins that one run sees: those that its files registered, and those of the whole process."""

    def __init__(self, outer: Scope | None = None) -> None:
        """`outer` is the scope whose plug-ins are seen as well."""
        self.outer = outer
        self.files: dict[Path, str] = {}
        """Resolved path -> SHA-256 of each plug-in file that was loaded into this scope, in that order."""
        self._own: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        named = [f"{one.kind} {one.name}" for one in self.registered()]
        return f"Scope({len(named)} of its own{': ' if named else ''}{', '.join(named)})"

    def entries(self, kind: str) -> dict[str, Any]:
        """Return name -> plug-in of one kind."""
        outside = {} if self.outer is None else self.outer.entries(kind)
        return {**outside, **self._own.get(kind, {})}

    def add(self, new: Registered) -> None:
        """Register a plug-in.

        Raises:
            ConfigError: another plug-in of this kind has the name.
        """
        known = self.entries(new.kind).get(new.name)
        if known is not None and not _is_same(known, new.entry):
            raise ConfigError(f"two {new.kind}s are called {new.name!r}: {known!r} and {new.entry!r}; rename one")
        self._own.setdefault(new.kind, {})[new.name] = new.entry

    def registered(self) -> Iterator[Registered]:
        """Yield what was registered in this scope itself."""
        for kind, entries in self._own.items():
            yield from (Registered(kind, name, entry) for name, entry in entries.items())

    @contextmanager
    def active(self) -> Iterator[Scope]:
        """Make this the scope of every lookup and decorator inside the block, in this thread.

        A thread that is started inside the block sees the plug-ins of the whole process only, unless it runs in a copy
        of the context (`contextvars.copy_context().run`).
        """
        token = _active.set(self)
        try:
            yield self
        finally:
            _active.reset(token)


def _is_same(first: object, second: object) -> bool:
    """Tell whether two entries are one definition, made twice: a plug-in file that was edited, a notebook cell."""
    return all(getattr(first, name, None) == getattr(second, name, None) for name in ("__module__", "__qualname__"))


WHOLE_PROCESS = Scope()
"""Built-in plug-ins, those of installed packages, and what a script or notebook registers outside of any scope."""
_active: ContextVar[Scope] = ContextVar("scope", default=WHOLE_PROCESS)


def active_scope() -> Scope:
    """Return the scope that lookups and decorators use now."""
    return _active.get()
