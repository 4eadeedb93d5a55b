"""The rows of a comparison: methods by their names, and variants of a method with settings of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.config.schema import UPPER_REFERENCE
from adaptinf.errors import ConfigError
from adaptinf.selection import known_options

Cap = Literal["auto", "none"] | int
"""As `pruning.cap`."""

CAPPED = frozenset({"lite_adapt"})
"""Methods that prune to the cap in a comparison unless `cap` says otherwise; all others keep their pool."""
RESERVED = ("shared", "data")
"""Folders of a comparison that are no row."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INSTEAD = {
    "selection.method": "write `method:`",
    "pruning.cap": "write `cap:`",
    "seed": "name seeds with --seeds",
    "plugins": "name them in the stream",
    "made_by": "leave it out",
}
"""Settings that a variant may not change, and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One row of the table."""

    name: str
    """Its name, which is also its folder's."""
    method: str
    """Its selector."""
    settings: Mapping[str, Any]
    """Settings that differ from the stream's: `a.b` -> value."""
    cap: Cap | None = None
    """The cap of this row alone; None: that of the comparison."""

    def as_json(self) -> dict[str, Any]:
        """Return a value for JSON."""
        return {"method": self.method, "settings": dict(self.settings), "cap": self.cap}

    @property
    def changes(self) -> dict[str, Any]:
        """What the row changes of the stream's settings, its own cap included."""
        return {**self.settings, **({} if self.cap is None else {"cap": self.cap})}


def rows_of(methods: Sequence[str], variants: Path | None = None) -> list[ComparisonRow]:
    """Return the rows of methods, then those of a file of variants.

    Raises:
        ConfigError: there is none, a name comes twice or cannot be a folder, or the file is wrong.
    """
    rows = [ComparisonRow(name=method, method=method, settings={}) for method in methods]
    rows += [] if variants is None else _read(variants)
    if not rows:
        raise ConfigError("there is nothing to compare; name --methods (`adaptinf list` has them) or --variants")
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two rows are called {name!r}; give a variant a name of its own")
        _check_name(name)
    return rows


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.endswith(".part"):
        raise ConfigError(
            f"{name!r} cannot be a row: it names a folder, so letters, digits, '.', '_' and '-', 64 at most, "
            "and no .part at the end"
        )
    if name in RESERVED:
        raise ConfigError(f"{name!r} cannot be a row: the comparison has a folder of that name; choose another")


def _read(path: Path) -> list[ComparisonRow]:
    if not path.is_file():
        raise ConfigError(f"{path} is not a file")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must map names to settings, such as `fisher: {{method: adapt, ...}}`")
    return [_row(str(name), value, f"{path}: {name}") for name, value in found.items()]


def _row(name: str, value: Any, where: str) -> ComparisonRow:
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        raise ConfigError(
            f"{where}: write `method:` and settings, such as {{method: adapt, extraction.vector: fisher}}"
        )
    if name in registry.selector.names() and name != value["method"]:
        raise ConfigError(f"{where}: {name} is a method; a variant of {value['method']} needs another name")
    settings = {str(key): item for key, item in value.items() if key not in ("method", "cap")}
    for key in settings:
        for refused, instead in _INSTEAD.items():
            if key == refused or key.startswith(f"{refused}."):
                raise ConfigError(f"{where}: a variant may not set {key}; {instead}")
    return ComparisonRow(name=name, method=value["method"], settings=settings, cap=_cap(value.get("cap"), where))


def parse_cap(text: str | None) -> Cap | None:
    """Return what `--cap` says.

    Raises:
        ConfigError: it is no cap.
    """
    value: Any = int(text) if text is not None and text.isdecimal() else text
    return _cap(value, "--cap")


def _cap(value: Any, where: str) -> Cap | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is None or value in ("auto", "none") or is_number:
        return value  # type: ignore[no-any-return]  # checked right here
    raise ConfigError(f"{where}: cap {value!r} must be auto (4 x the budget), none, or a number of samples")


def row_config(config: RunConfig, row: ComparisonRow, seed: int, *, cap: Cap | None = None) -> RunConfig:
    """Return the configuration of one row and seed.

    Without `cap` only `lite_adapt` is capped, at the stream's own cap if it has one; with it all rows but multitask
    share that cap. A row's own cap comes first.

    Raises:
        ConfigError: an unknown method or setting, or `lite_adapt` without a cap, which would be `adapt`.
    """
    where = f"row {row.name}"
    _ = registry.selector[row.method]
    method = method_config(config, row.method, seed)
    if row.method == UPPER_REFERENCE:
        if row.cap not in (None, "none"):
            raise ConfigError(f"{where}: {row.method} trains on everything that ever came, so it can have no cap")
        wanted: Cap = "none"
    elif row.cap is not None:
        wanted = row.cap
    else:
        wanted = method.pruning.cap if cap is None else cap
    if wanted == "none" and row.method in CAPPED:
        raise ConfigError(f"{where}: {row.method} is adapt with a cap; leave it out, or give it one")
    capped = method.model_copy(update={"pruning": method.pruning.model_copy(update={"cap": wanted})})
    return configuration.with_settings(capped, row.settings, where=where) if row.settings else capped


def method_config(config: RunConfig, method: str, seed: int) -> RunConfig:
    """Return the configuration of one method and seed in a comparison.

    Raises:
        ConfigError: no such method.
    """
    # What the stream asks of one method is not asked of the others that do not know it.
    known = known_options(method)
    own: dict[str, Any] = {name: None for name in ("budgets", "choose", "sampling") if name not in known}
    own["options"] = {name: value for name, value in config.selection.options.items() if name in known}
    stream_cap = "auto" if config.pruning.cap == "none" else config.pruning.cap
    changes = {
        "selection": config.selection.model_copy(update={"method": method, **own}),
        "pruning": config.pruning.model_copy(update={"cap": stream_cap if method in CAPPED else "none"}),
        "seed": seed,
    }
    return config.model_copy(update=changes)
