"""One decorator for every plug-in: a format, a scorer, a selector or a metric is one file with one decorator.

A registry imports its own package the first time somebody asks for a name, so importing `adaptinf` stays fast and a new
file needs no second edit. The same first question loads the plug-ins of installed packages, which declare them as entry
points of the group `adaptinf.plugins`. A user's files come in through `load_plugins`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from adaptinf.errors import ConfigError
from adaptinf.words import known_names

T = TypeVar("T")

ENTRY_POINTS = "adaptinf.plugins"
"""The group of entry points under which an installed package declares plug-ins."""
FILE_MODULE = "adaptinf_plugin_"
"""What the names of modules made of a user's files begin with."""


class Registry(Generic[T]):
    """Names to plug-ins of one kind."""

    def __init__(self, kind: str, home: str) -> None:
        """`kind` is the word used in messages; `home` the package or module whose files register the built-in ones."""
        self.kind = kind
        self.home = home
        self._entries: dict[str, T] = {}
        self._loaded = False

    def __call__(self, name: str) -> Callable[[T], T]:
        """Return the decorator that registers a plug-in under `name`."""

        def register(entry: T) -> T:
            known = self._entries.get(name)
            if known is not None and not _is_same(known, entry):
                raise ConfigError(f"two {self.kind}s are called {name!r}: {known!r} and {entry!r}; rename one")
            self._entries[name] = entry
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
        return self._entries[name]

    def complaint(self, name: str) -> str:
        """Return what is wrong with a name, and the known ones; empty if nothing is."""
        self._load()
        if name in self._entries:
            return ""
        return f"unknown {self.kind} {name!r}; {known_names(name, self.names())}"

    def names(self) -> list[str]:
        """Return all known names, sorted."""
        self._load()
        return sorted(self._entries)

    def _load(self) -> None:
        self._load_built_in()
        _load_installed()

    def _load_built_in(self) -> None:
        if self._loaded:
            return
        home = importlib.import_module(self.home)
        for module in pkgutil.iter_modules(getattr(home, "__path__", [])):
            importlib.import_module(f"{self.home}.{module.name}")
        # Last, so that an import that failed fails again instead of leaving an empty registry.
        self._loaded = True


def _is_same(first: object, second: object) -> bool:
    """Tell whether two entries are one definition, loaded twice (a plug-in file imported by two runs)."""
    return all(getattr(first, name, None) == getattr(second, name, None) for name in ("__module__", "__qualname__"))


# Any: each kind of plug-in has its own protocol, in the package that is its home.
dataset_format: Registry[Any] = Registry("format", "adaptinf.formats")
scorer: Registry[Any] = Registry("scorer", "adaptinf.scoring")
selector: Registry[Any] = Registry("selector", "adaptinf.selection.methods")
metric: Registry[Any] = Registry("metric", "adaptinf.evaluation.answers")

REGISTRIES = (dataset_format, scorer, selector, metric)
_begun: set[EntryPoint] = set()
"""Entry points that are loaded, or are being loaded: one that asks for a name while it loads does not begin again."""


def _load_installed() -> None:
    """Load the plug-ins of installed packages that are not loaded yet.

    Raises:
        ConfigError: a package's plug-ins cannot be loaded; the next call tries again.
    """
    for entry_point in _declared():
        if entry_point in _begun:
            continue
        # All built-in names first, so that a package which takes one is refused, and not the built-in.
        for registry in REGISTRIES:
            registry._load_built_in()
        _begun.add(entry_point)
        try:
            _load_entry_point(entry_point)
        except Exception as error:  # raised by the package's own code; its cause stays attached
            _begun.remove(entry_point)
            raise ConfigError(_complaint(entry_point, error)) from error


@cache
def _declared() -> tuple[EntryPoint, ...]:
    """Return the entry points of all installed packages; looked up once, as that reads files of every package."""
    return tuple(entry_points(group=ENTRY_POINTS))


def _load_entry_point(entry_point: EntryPoint) -> None:
    """Import what an entry point names, and call it if it is a function that registers plug-ins."""
    loaded = entry_point.load()
    is_plugin = any(loaded is entry for registry in REGISTRIES for entry in registry._entries.values())
    if not isinstance(loaded, ModuleType) and not is_plugin:
        loaded()


def _complaint(entry_point: EntryPoint, error: Exception) -> str:
    package = entry_point.dist.name if entry_point.dist else "an installed package"
    return (
        f"{package}: its entry point {entry_point.name} = {entry_point.value} ({ENTRY_POINTS}) cannot be loaded: "
        f"{type(error).__name__}: {error}; fix the package, or remove it: pip uninstall {package}"
    )


def origin(entry: object) -> str:
    """Return where a plug-in is defined: a file of the user, or an installed package; empty for a built-in one."""
    module = str(getattr(entry, "__module__", ""))
    if module.startswith(FILE_MODULE):
        return str(sys.modules[module].__file__)
    package = module.split(".")[0]
    return "" if package == "adaptinf" else package


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Import the user's plug-in files, each of which registers what it defines.

    Raises:
        ConfigError: a file is missing or fails while it is imported.
    """
    files = list(map(Path, paths))
    if files:
        # First, so that a name which both define is refused in the user's file, which is easier to change.
        _load_installed()
    for path in files:
        if not path.is_file():
            raise ConfigError(f"plugins: {path} is not a file")
        # The whole path, so that two files of one name stay two modules.
        name = f"{FILE_MODULE}{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"plugins: {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever the user's file raises is the user's to mend, with its cause attached
            raise ConfigError(f"plugins: {path} cannot be imported: {type(error).__name__}: {error}") from error
