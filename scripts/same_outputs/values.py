"""A file as places and values: a column of a table, an array, a weight, a key of a JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

# Any here: a value from a JSON file or a table can be of any type.
Values = dict[str, Any]
"""Places in a file, each with its value: a scalar, a list (a column) or an array."""
Tidy = Callable[[str], str]
"""Takes out of a text what differs between two runs of one revision: absolute paths."""

RENAMED_KEYS = {"mended": "repaired"}
"""Old name -> new name, of JSON keys."""
DURATION = re.compile(r"[\d.,]+ (?:s|min|h|d)(?: [\d.,]+ (?:s|min|h))?")
"""A cell of a table in Markdown that is a duration."""


def read_values(path: Path, tidy: Tidy = str) -> Values:
    """Return places and values of a file; `tidy` is applied to every text, keys too, and takes out absolute paths."""
    reader = READERS.get(path.suffix)
    if path.name in KEYED:
        reader = _keyed
    return {"sha256": sha256(path.read_bytes()).hexdigest()} if reader is None else reader(path, tidy)


def _parquet(path: Path, tidy: Tidy) -> Values:
    import pyarrow.parquet as pq

    return _columns(pq.read_table(path), tidy)


def _arrow(path: Path, tidy: Tidy) -> Values:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        return _columns(pa.ipc.open_stream(file).read_all(), tidy)


def _columns(table: Any, tidy: Tidy) -> Values:
    values: Values = {}
    for name in table.column_names:
        values[f"type of {name}"] = str(table[name].type)
        values[name] = _tidied(table[name].to_pylist(), tidy)
    return values


def _npy(path: Path, tidy: Tidy) -> Values:
    return {"array": np.load(path, allow_pickle=False)}


def _safetensors(path: Path, tidy: Tidy) -> Values:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    with safe_open(path, "np") as file:
        metadata = file.metadata() or {}
    return {**load_file(path), **{f"metadata.{key}": tidy(value) for key, value in metadata.items()}}


def _json(path: Path, tidy: Tidy) -> Values:
    return _flat(_tidied(json.loads(path.read_text(encoding="utf-8")), tidy))


def _yaml(path: Path, tidy: Tidy) -> Values:
    import yaml

    return _flat(_tidied(_with_options_in_one_place(yaml.safe_load(path.read_text(encoding="utf-8"))), tidy))


def _with_options_in_one_place(settings: Any) -> Any:
    """Return settings with named options of the method under `selection.options`, where they mean the same."""
    if not isinstance(settings, dict) or not isinstance(settings.get("selection"), dict):
        return settings
    selection = dict(settings["selection"])
    named = {name: selection.pop(name, None) for name in ("budgets", "choose", "sampling")}
    given = {name: value for name, value in named.items() if value is not None}
    return {**settings, "selection": {**selection, "options": {**given, **selection.get("options", {})}}}


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _jsonl(path: Path, tidy: Tidy) -> Values:
    return _flat(_tidied(_lines(path), tidy))


def _keyed(path: Path, tidy: Tidy) -> Values:
    """Return a log by step and stage, where the last line wins: a kill repeats lines."""
    found = {}
    for line in _lines(path):
        key = "/".join(str(line.pop(name)) for name in ("step", "stage", "event") if name in line)
        found[key] = line
    return _flat(_tidied(found, tidy))


def _text(path: Path, tidy: Tidy) -> Values:
    lines = path.read_text(encoding="utf-8").split("\n")
    return {f"line {number}": tidy(line) for number, line in enumerate(lines, 1)}


def _markdown(path: Path, tidy: Tidy) -> Values:
    """Return the cells of the tables; around them are sentences, and durations are timings."""
    rows = [line.strip("|").split("|") for line in path.read_text(encoding="utf-8").split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {
        f"row {y} cell {x}": "a duration" if DURATION.fullmatch(cell) else tidy(cell)
        for y, row in enumerate(cells)
        for x, cell in enumerate(row)
    }


KEYED = ("events.jsonl", "metrics.jsonl")
READERS: dict[str, Callable[[Path, Tidy], Values]] = {
    ".parquet": _parquet, ".arrow": _arrow, ".npy": _npy, ".safetensors": _safetensors, ".json": _json,
    ".jsonl": _jsonl, ".yaml": _yaml, ".txt": _text, ".md": _markdown, ".jinja": _text,
}  # fmt: skip
"""Files of another kind are compared byte by byte."""


def _tidied(value: Any, tidy: Tidy) -> Any:
    if isinstance(value, dict):
        return {RENAMED_KEYS.get(key, tidy(str(key))): _tidied(item, tidy) for key, item in value.items()}
    if isinstance(value, list):
        return [_tidied(item, tidy) for item in value]
    return tidy(value) if isinstance(value, str) else value


def _flat(value: Any, place: str = "") -> Values:
    """Return the scalars of a nested value by dotted place; an empty list or object is a value of its own."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: Values = {}
    for key, item in items:
        found |= _flat(item, f"{place}.{key}" if place else str(key))
    return found or {place: value}
