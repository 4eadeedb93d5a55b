"""Reading, checking and writing stream.yaml: unknown keys are refused, all mistakes are reported at once."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from adaptinf.config.mistakes import mistake_lines
from adaptinf.config.schema import (
    HARNESS_KEYS,
    NAMED_OPTIONS,
    ClusteringConfig,
    DataConfig,
    DatasetConfig,
    ExtractionConfig,
    GateConfig,
    LoraConfig,
    MadeBy,
    ModelConfig,
    PruningConfig,
    RayConfig,
    RunConfig,
    Section,
    SelectionConfig,
    SkillConfig,
    SourceConfig,
    TrainingConfig,
)
from adaptinf.config.yaml_text import read_yaml
from adaptinf.errors import ConfigError
from adaptinf.storage.paths import why_no_file
from adaptinf.words import counted

__all__ = [
    "HARNESS_KEYS",
    "NAMED_OPTIONS",
    "ClusteringConfig",
    "DataConfig",
    "DatasetConfig",
    "ExtractionConfig",
    "GateConfig",
    "LoraConfig",
    "MadeBy",
    "ModelConfig",
    "Overrides",
    "PruningConfig",
    "RayConfig",
    "RunConfig",
    "Section",
    "SelectionConfig",
    "SkillConfig",
    "SourceConfig",
    "TrainingConfig",
    "as_settings",
    "from_overrides",
    "load",
    "parse",
    "parse_dataset",
    "parse_override",
    "read_yaml_file",
    "resolve",
    "resolve_dataset",
    "to_yaml",
    "with_settings",
]

Overrides = Mapping[str, Any] | Sequence[str]
"""Settings in place of those of a file: `{"selection.budget": 1000}`, or, as `--set`, `["selection.budget=1000"]`."""
S = TypeVar("S", bound=Section)
SourceConfigs = TypeVar("SourceConfigs", bound=SourceConfig)


def load(path: Path, overrides: Overrides | None = None) -> RunConfig:
    """Return the configuration in a YAML file, with `a.b=1` overrides applied and paths made absolute.

    A relative path counts from the folder of the file; where nothing lies there, from the working directory.

    Raises:
        ConfigError: the file is missing or no YAML, or any number of its keys and values are wrong (all are named).
    """
    if problem := why_no_file(path):
        found = sorted(path.glob("*.yaml")) if path.is_dir() else []
        raise ConfigError(f"{path} is not a file: it {problem}" + (f"; did you mean {found[0]}?" if found else ""))
    raw = read_yaml_file(path)
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path} must hold keys and values such as `model:` and `stream:`, not a {type(raw).__name__}; if it is a "
            "dataset, `adaptinf init RUN --model MODEL --from DATA` writes a config.yaml for it"
        )
    _set_all(raw, overrides)
    return resolve(parse(raw, where=str(path)), path.parent)


def read_yaml_file(path: Path) -> Any:
    """Return the value in a YAML file (Any: whatever YAML can hold).

    Raises:
        ConfigError: it is no YAML, or a key occurs twice in one section.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise ConfigError(f"{path} is not valid YAML: line {line} is no UTF-8 text; save the file as UTF-8") from error
    return read_yaml(text, str(path))


def from_overrides(overrides: Overrides | None, *, base: Path) -> RunConfig:
    """Return the defaults with `a.b=1` overrides applied, relative paths counted from `base`.

    Raises:
        ConfigError: an override is wrong.
    """
    raw: dict[str, Any] = {}
    _set_all(raw, overrides)
    return resolve(parse(raw, where="settings"), base)


def with_settings(config: RunConfig, settings: Mapping[str, Any], *, where: str) -> RunConfig:
    """Return the configuration with some settings, named `a.b` as for `--set`, replaced.

    Raises:
        ConfigError: lists every wrong key and value, `where` in front.
    """
    raw = config.model_dump()
    for key, value in settings.items():
        _put(raw, key, value, where)
    return parse(raw, where=where)


def parse(raw: dict[str, Any], *, where: str) -> RunConfig:
    """Return the validated configuration.

    Raises:
        ConfigError: lists every wrong key and value, `where` in front.
    """
    return _validated(RunConfig, raw, where)


def parse_dataset(raw: dict[str, Any]) -> DatasetConfig:
    """Return one validated entry of the stream.

    Raises:
        ConfigError: lists every wrong key and value.
    """
    return _validated(DatasetConfig, raw, "dataset")


def _validated(section: type[S], raw: dict[str, Any], where: str) -> S:
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        lines = mistake_lines(error)
        raise ConfigError(f"{where}: {counted(len(lines), 'mistake')}\n  " + "\n  ".join(lines)) from None


def parse_override(override: str) -> tuple[str, Any]:
    """Return key and value of `key=value`, the value read as YAML.

    Raises:
        ConfigError: there is no `=`, or the value is no YAML.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override} is not KEY=VALUE; write --set {key or 'KEY'}=VALUE")
    return key, read_yaml(text, f"--set {override}")


def as_settings(overrides: Overrides | None) -> dict[str, Any]:
    """Return overrides as `a.b` -> value, paths as text; the last one of a name wins.

    Raises:
        ConfigError: as `parse_override`.
    """
    if isinstance(overrides, Mapping):
        return {key: _as_text(value) for key, value in overrides.items()}
    return dict(map(parse_override, [overrides] if isinstance(overrides, str) else overrides or ()))


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _set_all(raw: dict[str, Any], overrides: Overrides | None) -> None:
    """Apply overrides to nested dictionaries. Changes `raw` in place."""
    for key, value in as_settings(overrides).items():
        _put(raw, key, value, f"--set {key}={value}")


def _put(raw: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set the value at `a.b` in nested dictionaries. Changes `raw` in place."""
    *parents, last = key.split(".")
    place: Any = raw
    for parent in parents:
        place = _descend(place, parent, where)
    if isinstance(place, list):
        place[_index(place, last, where)] = value
    else:
        place[last] = value


def _descend(place: Any, key: str, where: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, where)]
    below = place.setdefault(key, {})
    if below is None:
        below = place[key] = {}
    if not isinstance(below, dict | list):
        raise ConfigError(f"{where}: {key} is {below!r}, not a section")
    return below


def _index(place: list[Any], key: str, where: str) -> int:
    if not key.isdigit() or int(key) >= len(place):
        raise ConfigError(f"{where}: {key!r} must be a number below {len(place)}")
    return int(key)


def resolve(config: RunConfig, base: Path) -> RunConfig:
    """Return the configuration with every existing relative path made absolute."""
    changes: dict[str, Any] = {
        "stream": [resolve_dataset(dataset, base) for dataset in config.stream],
        "evaluation": [resolve_dataset(skill, base) for skill in config.evaluation],
        "plugins": [_resolve_path(plugin, base) for plugin in config.plugins],
        "model": config.model.model_copy(
            update={
                "path": _resolve_path(config.model.path, base),
                "adapter": config.model.adapter and _resolve_path(config.model.adapter, base),
            }
        ),
    }
    commands = [config.training.command, *(skill.command for skill in config.evaluation)]
    if any(command is not None for command in commands):
        folder = base / (config.commands_folder or "")
        changes["commands_folder"] = str(folder.resolve())
    if config.extraction.model:
        proxy = _resolve_path(config.extraction.model, base)
        changes["extraction"] = config.extraction.model_copy(update={"model": proxy})
    files = {"keep": config.selection.keep, "targets": config.selection.targets}
    if placed := {name: _resolve_path(path, base) for name, path in files.items() if path}:
        changes["selection"] = config.selection.model_copy(update=placed)
    return config.model_copy(update=changes)


def resolve_dataset(item: SourceConfigs, base: Path) -> SourceConfigs:
    """Return a dataset of the stream, or a skill's tests, with its existing relative paths made absolute."""
    changes: dict[str, Any] = {"path": _resolve_pattern(item.path, base)}
    if item.images is not None:
        folders = [_resolve_path(folder, base) for folder in item.image_folders]
        changes["images"] = folders[0] if isinstance(item.images, str) else folders
    return item.model_copy(update=changes)


def _resolve_path(path: str, base: Path) -> str:
    """Return an absolute path for a file that exists; anything else (a hub name) as it stands."""
    for folder in (base, Path()):  # the second one is the current folder
        if path and os.path.exists(os.path.join(folder, path)):
            return str((folder / path).resolve())
    return path


def _resolve_pattern(path: str, base: Path) -> str:
    """Return an absolute path for a file, or a pattern that files match; an address or a hub name as it stands."""
    if "://" in path:
        return path
    for folder in (base, Path.cwd()) if glob.has_magic(path) else ():
        if not (folder / path).exists():
            # Only the pattern's own wildcards count, not brackets in the name of the folder.
            pattern = os.path.join(glob.escape(str(folder.resolve())), path)
            if next(glob.iglob(pattern, recursive=True), None) is not None:
                return pattern
    return _resolve_path(path, base)


def to_yaml(config: RunConfig) -> str:
    """Return the configuration as YAML with each key's help as a comment; `load` reads it back unchanged."""
    lines = _section_lines(config, indent=0)
    return "\n".join(lines).strip() + "\n"


def _section_lines(section: Section, indent: int) -> list[str]:
    lines = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        pad = " " * indent
        if value is None and name == "made_by":
            continue
        if indent == 0:
            lines.append("")
        if isinstance(value, Section):
            lines += [f"{pad}# {field.description}", f"{pad}{name}:", *_section_lines(value, indent + 2)]
            continue
        plain = [_set_keys(item) for item in value] if _is_list_of_sections(value) else value
        dumped = yaml.safe_dump({name: plain}, sort_keys=False, allow_unicode=True, width=110).rstrip("\n").split("\n")
        lines += [f"{pad}# {field.description}", *(pad + line for line in dumped)]
    return lines


def _is_list_of_sections(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Section)


def _set_keys(item: Section) -> dict[str, Any]:
    """Return an entry of a list without the keys that nobody has set: with thousands of entries they are most lines."""
    fields = type(item).model_fields
    strange = item.foreign_keys if isinstance(item, SkillConfig) else frozenset()
    return {
        key: value
        for key, value in item.model_dump(exclude=set(strange)).items()
        if value is not None or fields[key].default is not None
    }
