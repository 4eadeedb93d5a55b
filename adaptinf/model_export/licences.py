"""Licences as far as they are known: from the card of a dataset or model, its README.md or dataset_info.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adaptinf.config import DatasetConfig
from adaptinf.sources.finding import README, is_pattern
from adaptinf.sources.folder import INFO
from adaptinf.sources.hub import is_hub_name
from adaptinf.words import shortened

KEYS = ("license", "license_name", "license_link")
"""What a card says about a licence."""
MAX_BYTES = 2**20
"""A larger file is no card."""
MAX_CHARACTERS = 80
"""Characters of a licence's name that are shown."""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What a card says about a licence."""

    name: str
    """Its identifier, such as cc-by-4.0, or its name."""
    said_in: str
    """Name of the file that says so."""
    # Any: a text, or a list of texts, as the card has it.
    metadata: Mapping[str, Any]
    """The keys of the card about it, as they are."""

    def __str__(self) -> str:
        return f"{self.name} (says its {self.said_in})"


def licence_in(folder: Path) -> Licence | None:
    """Return the licence that a folder's card names; None: there is no card, or it names none."""
    for name, content in ((README, _front_matter(folder / README)), (INFO, _json(folder / INFO))):
        found = {key: text for key in KEYS if (text := _text(content.get(key)))}
        shown = found.get("license_name") if found.get("license") in (None, "other") else found["license"]
        if shown or "license" in found:
            metadata = {key: content[key] for key in found}
            return Licence(name=shown or found["license"], said_in=name, metadata=metadata)
    return None


def licence_of_data(dataset: DatasetConfig) -> Licence | None:
    """Return the licence of a dataset: of its folder, or of the copy of its card in the hub's local cache."""
    if not Path(dataset.path).exists() and not is_pattern(dataset.path) and is_hub_name(dataset.path):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(dataset.path, README, repo_type="dataset")
        return licence_in(Path(cached).parent) if isinstance(cached, str) else None
    folder = _folder_of(dataset.path)
    return None if folder is None else licence_in(folder)


def _folder_of(path: str) -> Path | None:
    """Return the folder that a local path stands for: of a file, or of a pattern, the one that it lies in."""
    text = path.removeprefix("file://")
    if "://" in text:
        return None
    place = Path(text)
    while is_pattern(str(place)) and not place.exists():
        place = place.parent
    if place.is_file():
        place = place.parent
    return place if place.is_dir() else None


def _front_matter(path: Path) -> Mapping[str, Any]:
    """Return the metadata that a README begins with; empty where there is none that can be read."""
    text = _content(path)
    metadata, rule, _ = text[3:].partition("\n---")
    if not text.startswith("---") or not rule:
        return {}
    try:
        found: Any = yaml.safe_load(metadata)
    except (yaml.YAMLError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found: Any = json.loads(_content(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _content(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ""
        return path.read_text(encoding="utf-8-sig", errors="replace").lstrip()
    except OSError:
        return ""


def _text(value: object) -> str:
    """Return what a card says as one line: a text, or a list of texts; empty for everything else."""
    values = value if isinstance(value, list) else [value]
    texts = [one for one in values if isinstance(one, str) and one.strip()]
    return shortened(", ".join(texts), MAX_CHARACTERS) if len(texts) == len(values) else ""
