"""What the manifest of an export says to a reader: its data file, and where the images of its rows lie."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

IDS = "ids.txt"
"""The ids of an export, beside its manifest."""
MANIFEST = "manifest.json"
"""The file."""
ROOTS_KEY = "roots"
"""Its key with the folders that absolute paths of the rows may lead to."""


def exported_file(folder: Path, suffixes: Iterable[str]) -> Path | None:
    """Return the data file of an export, data.json or data.jsonl; None in any other folder."""
    files = _manifest(folder).get("files")
    names = [f"data{suffix}" for suffix in suffixes if isinstance(files, dict) and f"data{suffix}" in files]
    return folder / names[0] if names and (folder / names[0]).is_file() else None


def exported_roots(folder: Path) -> tuple[Path, ...]:
    """Return the image folders that the manifest of an export names; none in any other folder."""
    roots = _manifest(folder).get(ROOTS_KEY)
    named = [Path(root) for root in roots if isinstance(root, str)] if isinstance(roots, list) else []
    return tuple(root for root in named if root.is_absolute())


# Any: a value from a file can be of any JSON type.
def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}
