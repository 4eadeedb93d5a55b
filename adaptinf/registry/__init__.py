"""Plug-ins by name: a format, scorer, selector, metric or executor is one file with one decorator.

A registry imports its own package at the first lookup of a name, so importing `adaptinf` stays fast and a new file
needs no second edit; the first lookup also loads the plug-ins of installed packages. All these are known in the whole
process. What the files of a run register is known in the run's `scope` only: two runs in one process may have different
plug-ins of one name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from adaptinf.errors import ConfigError
from adaptinf.registry.files import load_file, origin
from adaptinf.registry.fingerprint import Fingerprint
from adaptinf.registry.installed import load_installed, packages
from adaptinf.registry.scopes import WHOLE_PROCESS, Registered, Scope, active_scope
from adaptinf.words import known_names

__all__ = [
    "REGISTRIES",
    "Fingerprint",
    "Registry",
    "Scope",
    "dataset_format",
    "executor",
    "fingerprint",
    "load_plugins",
    "metric",
    "open_scope",
    "origin",
    "scope",
    "scope_like",
    "scorer",
    "selector",
]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to plug-ins of one kind, as the active scope has them."""

    def __init__(self, kind: str, home: str) -> None:
        """`kind` is the word used in messages; `home` the package or module whose files register the built-in ones."""
        self.kind = kind
        self.home = home
        self._loaded = False

    def __call__(self, name: str) -> Callable[[T], T]:
        """Return the decorator that registers a plug-in under `name` in the active scope."""

        def register(entry: T) -> T:
            active_scope().add(Registered(self.kind, name, entry))
            return entry

        return register

    def __getitem__(self, name: str) -> T:
        """Return the plug-in called `name`.

        Raises:
            ConfigError: no such name; the message lists the known ones and the nearest.
        """
        complaint = self.complaint(name)
        if complaint:
            raise ConfigError(complaint)
        return self._entries()[name]

    def get(self, name: str) -> T | None:
        """Return the plug-in called `name`; None where there is none."""
        return self._entries().get(name)

    def complaint(self, name: str) -> str:
        """Return what is wrong with a name, and the known ones; empty if nothing is."""
        if name in self._entries():
            return ""
        return f"unknown {self.kind} {name!r}; {known_names(name, self.names())}"

    def names(self) -> list[str]:
        """Return all known names, sorted."""
        return sorted(self._entries())

    def load_built_in(self) -> None:
        """Import the files of the home, unless that was done before."""
        if self._loaded:
            return
        with WHOLE_PROCESS.active():
            home = importlib.import_module(self.home)
            for module in pkgutil.iter_modules(getattr(home, "__path__", [])):
                importlib.import_module(f"{self.home}.{module.name}")
        # Last, so that an import that failed fails again instead of leaving an empty registry.
        self._loaded = True

    def _entries(self) -> dict[str, T]:
        self.load_built_in()
        load_installed(_load_built_in)
        return active_scope().entries(self.kind)


# Any: each kind of plug-in has its own protocol, in the package that is its home.
dataset_format: Registry[Any] = Registry("format", "adaptinf.formats")
scorer: Registry[Any] = Registry("scorer", "adaptinf.scoring")
selector: Registry[Any] = Registry("selector", "adaptinf.selection.methods")
metric: Registry[Any] = Registry("metric", "adaptinf.evaluation.answers")
executor: Registry[Any] = Registry("executor", "adaptinf.executors")

REGISTRIES = (dataset_format, scorer, selector, metric, executor)


def load_plugins(paths: Iterable[str | Path]) -> Scope:
    """Register what the user's plug-in files define in the active scope, and return that scope.

    Outside of any `scope` that is the whole process. A file is executed when it is first loaded, and again only when
    its content has changed.

    Raises:
        ConfigError: a file is missing, is no Python file, fails, or takes a name that is taken.
    """
    for path in map(Path, paths):
        # First, so that a name which both define is refused in the user's file, which is easier to change.
        _load_shared()
        load_file(path, active_scope())
    return active_scope()


def open_scope(plugins: Iterable[str | Path] = ()) -> Scope:
    """Return a new scope with the plug-ins of these files and of the whole process; `Scope.active` uses it.

    Raises:
        ConfigError: as `load_plugins`.
    """
    # First, so that a built-in module that is imported later, in the scope, is not registered there alone.
    _load_shared()
    with Scope(WHOLE_PROCESS).active():
        return load_plugins(plugins)


@contextmanager
def scope(plugins: Iterable[str | Path] = ()) -> Iterator[Scope]:
    """Return a block in a new scope: what these files and the block itself register is unknown outside of it.

    The block sees the plug-ins of the whole process, and not those of a scope around it.

    Raises:
        ConfigError: as `load_plugins`.
    """
    with open_scope(plugins).active() as own:
        yield own


def fingerprint() -> Fingerprint:
    """Return what the active scope sees, to be sent to a process that works on the same run.

    Executors are left out: one may be of a notebook's own, and no worker looks one up.
    """
    names = {kind.kind: tuple(kind.names()) for kind in REGISTRIES if kind is not executor}
    files = {**WHOLE_PROCESS.files, **active_scope().files}
    return Fingerprint(files={str(path): files[path] for path in files}, names=names, packages=packages())


@contextmanager
def scope_like(wanted: Fingerprint) -> Iterator[Scope]:
    """Return a block in a new scope with the plug-ins of the process that `wanted` comes from.

    Raises:
        ConfigError: a plug-in file has changed since, or this process has other plug-ins.
    """
    if changed := wanted.changed_files():
        raise ConfigError(f"plugins: {', '.join(changed)} changed after the work began; start it again")
    with scope(wanted.files) as own:
        if different := wanted.difference(fingerprint()):
            raise ConfigError(
                f"a worker process has other plug-ins: {different}; list the file that defines them under plugins:, "
                "and install the same packages on every machine"
            )
        yield own


def _load_shared() -> None:
    """Load the plug-ins that the whole process has: the built-in ones and those of installed packages."""
    _load_built_in()
    load_installed(_load_built_in)


def _load_built_in() -> None:
    for registry in REGISTRIES:
        registry.load_built_in()
