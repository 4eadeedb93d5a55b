"""What may stand in a model card that others read: names on the hub, and of the user's own files only the last part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from adaptinf.sources.hub import is_hub_name

_CACHED = re.compile(r"models--(?P<name>[\w.-]+(?:--[\w.-]+)?)")
"""Folder of the hub's local cache: `models--owner--name`."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|[._-](?=[A-Za-z0-9_])|_)*")
"""Part of a name that the hub takes."""
LONGEST_NAME = 96
"""Characters of a name on the hub."""
PLAIN_WORD = re.compile(r"(?=.{1,40}$)[A-Za-z][A-Za-z_:]*[0-9]{0,2}[A-Za-z_]*")
"""A value of a setting that can be no path, address, sentence or key of a service: a word with two digits at most."""


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """What a model is called in public."""

    name: str
    """Its name on the hub, else the last part of the path of its folder."""
    is_on_hub: bool
    """Whether it is a name of the hub."""

    @property
    def link(self) -> str:
        """The name as Markdown, a link where the hub has it."""
        return f"[{self.name}](https://huggingface.co/{self.name})" if self.is_on_hub else f"`{self.name}`"

    @property
    def is_valid(self) -> bool:
        """Whether the metadata of a card may hold the name: the hub refuses a card with any other one."""
        return is_repository_name(self.name)


def model_name(path: str) -> ModelName:
    """Return the public name of a model: of a folder of the hub's cache that of the hub, of others the folder's own."""
    for part in Path(path).parts:
        cached = _CACHED.fullmatch(part)
        if cached and "snapshots" in Path(path).parts:
            return ModelName(name=cached["name"].replace("--", "/"), is_on_hub=True)
    is_place = Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if not is_place and is_repository_name(path):
        return ModelName(name=path, is_on_hub=True)
    return ModelName(name=Path(path).name or "base", is_on_hub=False)


def is_repository_name(name: str) -> bool:
    """Tell whether the hub takes a name: `name` or `owner/name` of letters, digits, dashes, dots and underscores."""
    parts = name.split("/")
    is_formed = 1 <= len(parts) <= 2 and all(_NAME.fullmatch(part) for part in parts)
    return is_formed and len(name) <= LONGEST_NAME and not name.endswith(".git")


def data_place(path: str) -> str:
    """Return where rows come from as others may read it: a name of the hub, or what kind of place it is."""
    if not Path(path).exists() and is_hub_name(path):
        return path
    return "files at a remote address" if "://" in path and not path.startswith("file://") else "local files"


def public_value(value: object) -> str:
    """Return the value of a setting as text; of a text that may be a path, an address or a secret only that it is set.

    Numbers, flags and single words of settings are public; what stands in a list is looked at one by one.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(public_value(one) for one in value) or "none"
    if isinstance(value, str) and PLAIN_WORD.fullmatch(value):
        return value
    return "set"
