"""The rows of a comparison: methods, and variants of methods with settings of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.runs.methods import own_candidates
from adaptinf.selection import known_options, traits_of
from adaptinf.selection.options import is_option
from adaptinf.storage.paths import why_no_file

Cap = Literal["auto", "none"] | int
"""As `pruning.cap`."""

Variants = str | os.PathLike[str] | Mapping[str, Mapping[str, Any]]
"""Name -> method and settings of its own, or a YAML file of these."""

RESERVED = ("shared", "data")
"""Folders of a comparison that are not rows."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INSTEAD = {
    "selection.method": "write `method:`",
    "pruning.cap": "write `cap:`",
    "seed": "name seeds with --seeds",
    "plugins": "name them in the stream",
    "made_by": "leave it out",
}
"""Settings that a variant may not change -> what to do instead."""


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One row of a comparison: a method, or a variant of one."""

    name: str
    """Name of the row and of its folder."""
    method: str
    """Name of its selector."""
    settings: Mapping[str, Any]
    """Settings that differ from those of the stream: `a.b` -> value."""
    cap: Cap | None = None
    """Cap of this row alone; None: that of the comparison."""

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {"method": self.method, "settings": dict(self.settings), "cap": self.cap}

    @property
    def changes(self) -> dict[str, Any]:
        """Settings in which the row differs from the stream, its own cap included."""
        return {**self.settings, **({} if self.cap is None else {"cap": self.cap})}


def rows_of(methods: Sequence[str], variants: Variants | None = None) -> list[ComparisonRow]:
    """Return the rows of the methods, then those of the variants.

    Raises:
        ConfigError: there are no rows, a name occurs twice or cannot be a folder name, or the file is not valid.
    """
    rows = [ComparisonRow(name=method, method=method, settings={}) for method in methods]
    rows += [] if variants is None else _variants(variants)
    if not rows:
        raise ConfigError("there is nothing to compare; give --methods (`adaptinf list` names them) or --variants")
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two rows are called {name!r}; give each row a name of its own")
        _check_name(name)
    return rows


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.endswith(".part"):
        raise ConfigError(
            f"{name!r} cannot be the name of a row, which is also a folder; use letters, digits, '.', '_' and '-', "
            "at most 64, the first one a letter or digit, without .part at the end"
        )
    if name in RESERVED:
        raise ConfigError(f"{name!r} cannot be the name of a row: it is a folder of every comparison; rename it")


def _variants(variants: Variants) -> list[ComparisonRow]:
    if isinstance(variants, Mapping):
        return [_row(str(name), value, f"variants: {name}", Path()) for name, value in variants.items()]
    base, found = Path(variants).parent, _read(Path(variants))
    return [_row(str(name), value, f"{variants}: {name}", base) for name, value in found.items()]


def _read(path: Path) -> dict[Any, Any]:
    if problem := why_no_file(path):
        raise ConfigError(f"--variants {path} is not a file, it {problem}; give a YAML file of rows")
    found = configuration.read_yaml_file(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path} does not map names to settings; write lines like `fisher: {{method: adapt, ...}}`")
    return found


def _row(name: str, value: Any, where: str, base: Path) -> ComparisonRow:
    if not isinstance(value, Mapping) or not isinstance(value.get("method"), str):
        raise ConfigError(
            f"{where}: the method is missing; write `method:` and settings, "
            "such as {method: adapt, extraction.vector: fisher}"
        )
    if name in registry.selector.names() and name != value["method"]:
        raise ConfigError(f"{where}: {name} is a method; give the variant of {value['method']} another name")
    settings = {str(key): _placed(str(key), item, base) for key, item in value.items() if key not in ("method", "cap")}
    for key in settings:
        for refused, instead in _INSTEAD.items():
            if key == refused or key.startswith(f"{refused}."):
                raise ConfigError(f"{where}: a variant cannot set {key}; {instead}")
    return ComparisonRow(name=name, method=value["method"], settings=settings, cap=_cap(value.get("cap"), where))


# Any: the value of any setting.
def _placed(key: str, value: Any, base: Path) -> Any:
    """Return a setting of a row; a relative file lies beside the file of rows, else in the working directory."""
    if key not in ("selection.keep", "selection.targets") or not isinstance(value, str):
        return value
    places = (folder / value for folder in (base, Path.cwd()))
    return next((str(place.resolve()) for place in places if place.is_file()), value)


def parse_cap(text: int | str | None) -> Cap | None:
    """Return the cap that `--cap` asks for; None without the option.

    Raises:
        ConfigError: it is not a cap.
    """
    value: Any = int(text) if isinstance(text, str) and text.isdecimal() else text
    return _cap(value, "--cap")


def _cap(value: Any, where: str) -> Cap | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is None or value in ("auto", "none") or is_number:
        return value  # type: ignore[no-any-return]  # checked right here
    raise ConfigError(f"{where}: cap {value!r} is not valid; give auto (4 x the budget), none, or a number of samples")


def row_config(config: RunConfig, row: ComparisonRow, seed: int, *, cap: Cap | None = None) -> RunConfig:
    """Return the configuration of one row and seed.

    Without `cap` only methods that are `capped_in_comparisons` have a cap: that of the stream if it has one, otherwise
    4 x the budget. With `cap` all rows have that cap, except methods that train on the whole pool. The cap of a row
    itself takes precedence.

    Raises:
        ConfigError: unknown method or setting, or a method without the cap that it needs in a comparison.
    """
    where = f"row {row.name}"
    _ = registry.selector[row.method]
    method, traits = method_config(config, row.method, seed), traits_of(row.method)
    if traits.whole_pool:
        if row.cap not in (None, "none"):
            raise ConfigError(f"{where}: {row.method} trains on the whole pool and cannot have a cap; leave it out")
        wanted: Cap = "none"
    elif row.cap is not None:
        wanted = row.cap
    else:
        wanted = method.pruning.cap if cap is None else cap
    if wanted == "none" and traits.capped_in_comparisons:
        raise ConfigError(f"{where}: {row.method} needs a cap in a comparison; leave the row out, or give it a cap")
    capped = method.model_copy(update={"pruning": method.pruning.model_copy(update={"cap": wanted})})
    return configuration.with_settings(capped, row.settings, where=where) if row.settings else capped


def method_config(config: RunConfig, method: str, seed: int) -> RunConfig:
    """Return the configuration of one method and seed in a comparison.

    Raises:
        ConfigError: no such method.
    """
    # Options of the stream that this method does not know are meant for other methods.
    known = known_options(method)
    own: dict[str, Any] = {name: None for name in ("budgets", "choose", "sampling") if name not in known}
    own["options"] = {name: value for name, value in config.selection.options.items() if is_option(method, name)}
    if own_candidates(config.model_copy(update={"selection": config.selection.model_copy(update={"method": method})})):
        own["replay_share"] = None
    if "targets" not in registry.selector[method].needs:
        own["targets"] = None
    stream_cap = "auto" if config.pruning.cap == "none" else config.pruning.cap
    cap = stream_cap if traits_of(method).capped_in_comparisons else "none"
    changes = {
        "selection": config.selection.model_copy(update={"method": method, **own}),
        "pruning": config.pruning.model_copy(update={"cap": cap}),
        "seed": seed,
    }
    return config.model_copy(update=changes)
