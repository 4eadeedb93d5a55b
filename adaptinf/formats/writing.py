"""Writing: samples to a file that `read`, or another trainer, reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from adaptinf.data import Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats.columns import TOOLS_KEY
from adaptinf.formats.conversation import PATH_IN_TEXT, TAG, Format
from adaptinf.formats.in_row import data_url
from adaptinf.formats.parquet_rows import ParquetRows
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.images.contents import ImageContent
from adaptinf.registry import dataset_format

_FRAMES = {".json": ("[\n", ",\n", "\n]\n"), ".jsonl": ("", "\n", "\n")}
"""Suffix -> text before the first row, between two rows and after the last."""
PARQUET = ".parquet"
"""Suffix of files in which images are bytes."""
LIST_FORMATS = ("llava",)
"""Formats whose trainers read one JSON list; all others are written as one row per line."""


def write(
    samples: Iterable[Sample],
    path: str | Path,
    format: str | Format,
    *,
    embed: bool = False,
    on_row: Callable[[], None] | None = None,
) -> int:
    """Write samples as a .json list, a .jsonl or a .parquet file and return their number.

    Images inside the file's folder get relative paths, other files absolute ones; images that are no files are written
    as data URLs, in Parquet as bytes. The file gets its name when the last sample is written.

    Args:
        samples: any number; they may be a generator, all of which Parquet has in memory, but for images on disk.
        path: the file.
        format: a format's name, or an instance of a plug-in.
        embed: write the bytes of image files in place of their paths.
        on_row: called when a row has been written.

    Raises:
        DataError: the path has another suffix, or a text holds a literal image tag, which would be read as an image.
        ConfigError: there is no such format, or it is only read.
    """
    path = Path(path)
    if path.suffix not in (*_FRAMES, PARQUET):
        known = f"{', '.join(_FRAMES)} or {PARQUET}"
        raise DataError(f"{path} ends in {path.suffix or 'nothing'!r}; samples are written as {known}")
    listed = samples if isinstance(samples, Sequence) or path.suffix != PARQUET else list(samples)
    plugin = _plugin(format, listed if path.suffix == PARQUET else ())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    folder = path.parent.resolve()
    if isinstance(listed, Sequence) and path.suffix == PARQUET:
        rows = ParquetRows(render=partial(_row, plugin), path_of=partial(_path_from, folder=folder), embed=embed)
        count = rows.write(listed, part, on_row or _nothing)
    else:
        rendered = (_row(plugin, sample, _texts(sample.images, folder, embed)) for sample in listed)
        count = _write_text(rendered, part, path.suffix, on_row or _nothing)
    part.replace(path)
    return count


def _plugin(format: str | Format, samples: Iterable[Sample]) -> Format:
    """Return the format; one whose rows can be of one kind for all `samples`, as columns need it, is told so."""
    if not isinstance(format, str):
        return format
    return fitted(format, samples) if samples else format_to_write(format)()


def fitted(format: str, samples: Iterable[Sample]) -> Format:
    """Return the format; one whose rows depend on what all samples need is told so (`fitting`)."""
    kind = format_to_write(format)
    fitting: Callable[[Iterable[Sample]], Format] | None = getattr(kind, "fitting", None)
    return kind() if fitting is None else fitting(samples)


def text_suffix(format: str) -> str:
    """Return the suffix of a file of texts that the trainers of a format read."""
    return ".json" if format in LIST_FORMATS else ".jsonl"


def write_companions(folder: Path, data: str, plugin: Format, *, with_tools: bool) -> None:
    """Write the files that other trainers need beside a data file, if the format has any.

    Args:
        folder: of the data file.
        data: its name.
        plugin: its format.
        with_tools: whether any of its rows has tools.
    """
    companions: Callable[..., dict[str, Any]] | None = getattr(plugin, "companions", None)
    if companions is None:
        return
    for name, value in companions(data, with_tools=with_tools).items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _nothing() -> None:
    return None


def _write_text(rows: Iterator[dict[str, Any]], part: Path, suffix: str, on_row: Callable[[], None]) -> int:
    opening, between, closing = _FRAMES[suffix]
    count = 0
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(opening)
        for count, row in enumerate(rows, 1):
            file.write((between if count > 1 else "") + json.dumps(row, ensure_ascii=False))
            on_row()
        file.write(closing)
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


def _row(plugin: Format, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
    for number, message in enumerate(sample.messages, 1):
        texts = [block["text"] or "" for block in message["content"]]
        named = PATH_IN_TEXT.search("\n".join(texts)) if message["role"] == "user" else None
        if named or any(TAG in text for text in texts):
            literal = shown(named[0]) if named else TAG
            raise DataError(
                f"{sample.id} has the literal text {literal} in turn {number}; it would be read as an image"
            )
    own_id = sample.id.removeprefix(f"{sample.source}/")
    row = {"id": own_id, **plugin.render(sample, images)}
    if sample.tools:
        # As text, because Arrow gives a column one type, and schemas differ.
        row[TOOLS_KEY] = json.dumps(sample.tools, ensure_ascii=False)
    # `row` twice: the first gives the order of the keys, the last the values.
    return {**row, **sample.meta, **row}


def _texts(images: Sequence[Path | ImageContent], folder: Path, embed: bool) -> list[str]:
    """Return the text of each image as it is written into JSON."""
    return [_text(image, folder, embed) for image in images]


def _text(image: Path | ImageContent, folder: Path, embed: bool) -> str:
    if isinstance(image, ImageContent):
        return data_url(image)
    try:
        return data_url(ImageContent.of(image.read_bytes())) if embed else _path_from(image, folder)
    except OSError as error:
        raise DataError(f"image {image} cannot be read ({error.strerror})") from error


def _path_from(image: Path, folder: Path) -> str:
    # Not `resolve`: an image that is a link is named as the row named it.
    path = Path(os.path.abspath(image))
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
