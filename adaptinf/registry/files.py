"""Plug-in files of a user: executed once per content, and registered in every scope that loads them."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zlib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import NamedTuple

from adaptinf.errors import ConfigError
from adaptinf.registry.scopes import Registered, Scope
from adaptinf.storage.paths import why_no_file

FILE_MODULE = "adaptinf_plugin_"
"""Prefix of the names of modules made of plug-in files."""


class _Executed(NamedTuple):
    """A plug-in file that was executed."""

    digest: str
    """SHA-256 of its content."""
    registered: tuple[Registered, ...]
    """What it registered."""


_executed: dict[Path, _Executed] = {}
"""Resolved path -> its latest execution: Python imports a module once, but every scope needs its entries."""


def load_file(path: Path, target: Scope) -> None:
    """Register in a scope what a plug-in file defines; it is executed unless this content was executed before.

    Raises:
        ConfigError: the file is missing, is no Python file, fails, or takes a name that the scope has already.
    """
    if problem := why_no_file(path):
        raise ConfigError(f"plugins: {path} is not a file: it {problem}")
    place, content = path.resolve(), path.read_bytes()
    digest, known = hashlib.sha256(content).hexdigest(), _executed.get(place)
    try:
        if known is None or known.digest != digest:
            known = _Executed(digest, _execute(path, content, target))
        for one in known.registered:
            target.add(one)
    except _NotPython:
        raise ConfigError(f"plugins: {path} is not a Python file") from None
    except Exception as error:  # whatever the user's file raises is the user's to repair, with its cause attached
        raise ConfigError(f"plugins: {path} cannot be imported: {type(error).__name__}: {error}") from error
    _executed[place] = known
    target.files[place] = digest


class _NotPython(Exception):
    """A file is no Python source."""


def _execute(path: Path, content: bytes, seen: Scope) -> tuple[Registered, ...]:
    """Return what the content of a file registers; while it is executed, it sees the plug-ins of a scope."""
    # The whole path, so that two files of one name stay two modules.
    name = f"{FILE_MODULE}{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise _NotPython
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with Scope(seen).active() as own:
        # Not `exec_module`, which may take the bytecode of an older content of the same size and second.
        exec(spec.loader.source_to_code(content, str(path)), vars(module))
    return tuple(own.registered())


def origin(entry: object) -> str:
    """Return where a plug-in is defined: a file of the user, or an installed package; empty for a built-in one."""
    module = str(getattr(entry, "__module__", ""))
    if module.startswith(FILE_MODULE):
        return str(sys.modules[module].__file__)
    package = module.split(".")[0]
    return "" if package == "adaptinf" else package
