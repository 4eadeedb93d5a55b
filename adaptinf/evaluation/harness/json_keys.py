"""Reading a score from a JSON file of any harness: `reads: json:KEY`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from adaptinf.errors import DataError
from adaptinf.evaluation.harness.reading import HarnessResult, count_of, json_files, score_of
from adaptinf.evaluation.harness.tests import JSON, HarnessTest
from adaptinf.words import shortened

VERSION = "version"
"""Key at the top of the file that may hold the harness's version."""
NAMED = 12
"""Keys that a message lists."""


def read_json_key(test: HarnessTest, output: Path) -> HarnessResult:
    """Return the result in the JSON file of a folder that has the key.

    Raises:
        DataError: no file, or more than one, has the key; its value cannot be used.
    """
    key, where = test.reads[1], f"evaluation of {test.skill}"
    files = json_files(output, test, "*.json")
    having = {path: content for path, content in files.items() if _has(content, key)}
    if not files:
        raise DataError(f"{where}: {output} has no .json file; tell the command to write one there")
    if not having:
        names = "; ".join(f"{path.name}: {', '.join(_keys(content)[:NAMED])}" for path, content in files.items())
        raise DataError(f"{where}: no file in {output} has the key {key!r}; keys: {shortened(names, 300)}")
    if len(having) > 1:
        names = ", ".join(path.relative_to(output).as_posix() for path in list(having)[:NAMED])
        raise DataError(f"{where}: {len(having)} files in {output} have the key {key!r}: {names}; let it write one")
    ((path, content),) = having.items()
    count = test.config.count
    if count is not None and not _has(content, count):
        raise DataError(f"{where}: {path} has no key {count!r} (count); keys: {', '.join(_keys(content)[:NAMED])}")
    return HarnessResult(
        score=score_of(_value(content, key), test, f"{key} of {path}"),
        standard_error=math.nan,
        num_items=0 if count is None else count_of(_value(content, count), test, f"{count} of {path}"),
        metric=f"{JSON} {key}" + (f" of {test.scale:g}" if test.scale != 1 else ""),
        version=str(content[VERSION]) if isinstance(content.get(VERSION), str | int | float) else "",
        files=(path,),
    )


def _has(content: Any, key: str) -> bool:
    try:
        _value(content, key)
    except KeyError:
        return False
    return isinstance(content, dict)


def _value(content: Any, key: str) -> Any:
    """Return the value at a dotted key; a key that has dots itself comes first. KeyError where there is none."""
    if isinstance(content, dict) and key in content:
        return content[key]
    first, dot, rest = key.partition(".")
    while dot:
        if isinstance(content, dict) and first in content:
            try:
                return _value(content[first], rest)
            except KeyError:
                pass
        if isinstance(content, list) and first.isdigit() and int(first) < len(content):
            return _value(content[int(first)], rest)
        more, dot, rest = rest.partition(".")
        first = f"{first}.{more}"
    if isinstance(content, list) and key.isdigit() and int(key) < len(content):
        return content[int(key)]
    raise KeyError(key)


def _keys(content: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of a JSON value that hold no other keys."""
    if not isinstance(content, dict):
        return [prefix] if prefix else []
    return [name for key, value in content.items() for name in _keys(value, f"{prefix}.{key}" if prefix else str(key))]
