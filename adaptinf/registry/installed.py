"""Plug-ins of installed packages, which declare them as entry points of the group `adaptinf.plugins`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from adaptinf.errors import ConfigError
from adaptinf.registry.scopes import WHOLE_PROCESS

ENTRY_POINTS = "adaptinf.plugins"
"""The group of entry points under which an installed package declares plug-ins."""
_begun: set[EntryPoint] = set()
"""Entry points that are loaded, or are being loaded: one that looks up a name while it loads does not begin again."""


def load_installed(load_built_in: Callable[[], None]) -> None:
    """Load the plug-ins of installed packages that are not loaded yet.

    `load_built_in` is called before the first of them, so that a package that takes a built-in name is refused, and not
    the built-in plug-in.

    Raises:
        ConfigError: a package's plug-ins cannot be loaded; the next call tries again.
    """
    for entry_point in _declared():
        if entry_point in _begun:
            continue
        load_built_in()
        _begun.add(entry_point)
        try:
            with WHOLE_PROCESS.active():
                _load(entry_point)
        except Exception as error:  # raised by the package's own code; its cause stays attached
            _begun.remove(entry_point)
            raise ConfigError(_complaint(entry_point, error)) from error


def packages() -> tuple[str, ...]:
    """Return name and version of every installed package that brings plug-ins, sorted."""
    found = {entry_point.dist for entry_point in _declared() if entry_point.dist}
    return tuple(sorted({f"{package.name} {package.version}" for package in found}))


@cache
def _declared() -> tuple[EntryPoint, ...]:
    """Return the entry points of all installed packages; looked up once, as that reads files of every package."""
    return tuple(entry_points(group=ENTRY_POINTS))


def _load(entry_point: EntryPoint) -> None:
    """Import what an entry point names, and call it if it is a function that registers plug-ins."""
    loaded = entry_point.load()
    is_plugin = any(loaded is known.entry for known in WHOLE_PROCESS.registered())
    if not isinstance(loaded, ModuleType) and not is_plugin:
        loaded()


def _complaint(entry_point: EntryPoint, error: Exception) -> str:
    package = entry_point.dist.name if entry_point.dist else "an installed package"
    return (
        f"{package}: its entry point {entry_point.name} = {entry_point.value} ({ENTRY_POINTS}) cannot be loaded: "
        f"{type(error).__name__}: {error}; fix the package, or remove it: pip uninstall {package}"
    )
