"""Writing: samples to a file that `read`, or another trainer, reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adaptinf.data import Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats.columns import TOOLS_KEY
from adaptinf.formats.conversation import TAG, Format
from adaptinf.formats.in_row import data_url
from adaptinf.formats.reasons import BadRow
from adaptinf.images.contents import ImageContent
from adaptinf.registry import dataset_format

_FRAMES = {".json": ("[\n", ",\n", "\n]\n"), ".jsonl": ("", "\n", "\n")}
"""Suffix -> text before the first row, between two rows and after the last."""


def write(samples: Iterable[Sample], path: str | Path, format: str | Format) -> int:
    """Write samples as a .json list or a .jsonl file and return their number.

    `format` is a format's name, or an instance of a plug-in. Images inside the file's folder get relative paths, other
    files absolute ones; images that are no files are written as data URLs. The samples may be a generator; the file
    gets its name when the last sample is written.

    Raises:
        DataError: the path has another suffix, or a text holds a literal image tag, which would be read as an image.
        ConfigError: there is no such format, or it is only read.
    """
    path = Path(path)
    if path.suffix not in _FRAMES:
        raise DataError(f"{path} ends in {path.suffix or 'nothing'!r}; samples are written as .json or .jsonl")
    plugin: Format = format_to_write(format)() if isinstance(format, str) else format
    opening, between, closing = _FRAMES[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    count = 0
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(opening)
        for count, sample in enumerate(samples, 1):
            row = _row(sample, plugin, path.parent.resolve())
            file.write((between if count > 1 else "") + json.dumps(row, ensure_ascii=False))
        file.write(closing)
    part.replace(path)
    return count


def format_to_write(name: str) -> type[Format]:
    """Return the format of this name.

    Raises:
        ConfigError: there is no such format, or it is only read.
    """
    plugin: type[Format] = dataset_format[name]
    if not hasattr(plugin, "render"):
        written = ", ".join(known for known in dataset_format.names() if hasattr(dataset_format[known], "render"))
        raise ConfigError(f"format {name!r} is only read; formats that are written: {written}")
    return plugin


def keeps_loss_flags(sample: Sample, plugin: Format) -> bool:
    """Return whether a format's row still says which turns carry no loss, by reading it again."""
    try:
        turns = plugin.parse(plugin.render(sample, [str(path) for path in sample.images])).turns
    except BadRow:
        return False
    unlearnt = [number for number, turn in enumerate(turns) if turn.role == "assistant" and not turn.is_learnt]
    return tuple(unlearnt) == sample.unlearnt


def _row(sample: Sample, plugin: Format, folder: Path) -> dict[str, Any]:
    for number, message in enumerate(sample.messages, 1):
        if any(TAG in (block["text"] or "") for block in message["content"]):
            raise DataError(f"{sample.id} has the literal text {TAG} in turn {number}; it would be read as an image")
    own_id = sample.id.removeprefix(f"{sample.source}/")
    row = {"id": own_id, **plugin.render(sample, _written(sample.images, folder))}
    if sample.tools:
        # As text, because Arrow gives a column one type, and schemas differ.
        row[TOOLS_KEY] = json.dumps(sample.tools, ensure_ascii=False)
    # `row` twice: the first gives the order of the keys, the last the values.
    return {**row, **sample.meta, **row}


def _written(images: Sequence[Path | ImageContent], folder: Path) -> list[str]:
    return [data_url(image) if isinstance(image, ImageContent) else _path_from(image, folder) for image in images]


def _path_from(image: Path, folder: Path) -> str:
    # Not `resolve`: an image that is a link is named as the row named it.
    path = Path(os.path.abspath(image))
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
