"""Rows of a WebDataset tar: files of one name with different suffixes are one row, read in one pass."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from adaptinf.sources.decoding import decode, size_problem
from adaptinf.sources.opening import open_bytes
from adaptinf.sources.row import FileRow
from adaptinf.sources.source import Shard

KEY = "__key__"
"""Key of a row with the name that its files have in common, where its JSON has no `id`."""
IMAGE_SUFFIXES = frozenset("jpg jpeg jpe jfif png webp gif bmp tif tiff ppm pgm pbm pnm jp2 avif heic svg".split())
"""Last suffix of a member that is an image, which becomes bytes under `image`, or `images` where there are several."""
_TEXT_SUFFIXES = frozenset(("txt", "text", "caption", "transcript"))
_LONGEST_NAME = 60
_NUMBER_SUFFIXES = frozenset(("cls", "cls2", "index", "count"))


def read_tar(shard: Shard, max_row_bytes: int) -> Iterator[FileRow]:
    """Yield the rows of a tar of files; one that ends early, or is damaged, ends with a row that has a problem.

    Of a row of more than `max_row_bytes` no file is read. Where files of one row do not lie one after another, nothing
    after them is read: a sorted tar has them so.
    """
    number = 0
    # Key -> the suffixes that the row had.
    finished: dict[str, frozenset[str]] = {}
    try:
        with open_bytes(shard) as file, tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as tar:
            for group in _groups(tar, max_row_bytes):
                suffixes = frozenset(group.names)
                if finished.setdefault(group.key, suffixes).isdisjoint(suffixes):
                    raise OSError(f"the files of {_shown_name(group.key)} do not lie one after another; sort its files")
                yield _row(number, group, max_row_bytes)
                number += 1
    except (tarfile.TarError, OSError, EOFError) as error:
        yield FileRow(number, None, f"tar that cannot be read ({error or 'it ends early'})", ends_file=True)


class _Member(tarfile.TarInfo):
    """A member of a tar; the tar's end is an error unless it is marked as such."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """Return the member that a header describes.

        Raises:
            OSError: the file ends where a header, or the mark of the end, must be.
        """
        if len(buf) < tarfile.BLOCKSIZE:
            raise OSError("it ends without the mark that ends a tar: the file is cut off")
        return super().frombuf(buf, encoding, errors)


@dataclass
class _Group:
    """The files of one row."""

    key: str
    """What their names have in common."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Suffix -> content, in the order of the tar."""
    names: dict[str, str] = field(default_factory=dict)
    """Suffix -> name of the file."""
    num_bytes: int = 0
    """Bytes of all of them, those that were not read included."""
    link: str | None = None
    """Name of one of them that is a link to another file; None: none is."""


def _groups(tar: tarfile.TarFile, max_row_bytes: int) -> Iterator[_Group]:
    group: _Group | None = None
    for member in tar:
        path = PurePosixPath(member.name)
        is_link = member.issym() or member.islnk()
        if not (member.isfile() or is_link) or path.name.startswith(".") or "__MACOSX" in path.parts:
            continue
        stem, _, suffix = path.name.partition(".")
        key, suffix = str(path.with_name(stem)), suffix.lower()
        if group is None or key != group.key or suffix in group.files:
            if group is not None:
                yield group
            group = _Group(key)
        group.num_bytes += member.size
        group.link = path.name if is_link else group.link
        is_read = group.num_bytes <= max_row_bytes and not is_link
        group.files[suffix] = _content(tar.extractfile(member), member.size) if is_read else b""
        group.names[suffix] = path.name
    if group is not None:
        yield group


def _shown_name(name: str) -> str:
    """Return the name of a member as messages have it, cut to _LONGEST_NAME characters."""
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"


def _content(file: IO[bytes] | None, size: int) -> bytes:
    content = b"" if file is None else file.read()
    if len(content) != size:
        raise OSError("it ends within a file: the tar is cut off")
    return content


def _row(number: int, group: _Group, max_row_bytes: int) -> FileRow:
    if problem := size_problem(group.num_bytes, max_row_bytes):
        return FileRow(number, None, problem)
    if group.link:
        name = _shown_name(group.link)
        return FileRow(
            number, None, f"{name} is a link, which is not followed; write the tar with the files themselves"
        )
    try:
        return FileRow(number, _value(group))
    except ValueError as error:
        return FileRow(number, None, str(error))


def _value(group: _Group) -> dict[str, Any]:
    """Return a row's files under their suffixes, the keys of its JSON as its own, and its images.

    Raises:
        ValueError: a file does not hold what its suffix says.
    """
    value: dict[str, Any] = {KEY: group.key}
    images: dict[str, bytes] = {}
    for suffix, content in group.files.items():
        last = suffix.rpartition(".")[2]
        if last in IMAGE_SUFFIXES:
            images[suffix] = content
        elif last == "json":
            found = _json(group.names[suffix], content)
            value |= found if isinstance(found, dict) and suffix == "json" else {suffix: found}
        else:
            value[suffix] = _member(group.names[suffix], last, content)
    if value.get("id") not in (None, ""):
        del value[KEY]
    if images:
        named = _ordered(images, group, value)
        value.pop("image", None)
        value.pop("images", None)
        value["image" if len(named) == 1 else "images"] = named[0] if len(named) == 1 else named
    return value


def _ordered(images: dict[str, bytes], group: _Group, value: dict[str, Any]) -> list[bytes]:
    """Return the images in the order in which the row's JSON names all of them, otherwise in that of the tar."""
    listed = value.get("images", value.get("image"))
    texts = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    by_name = {group.names[suffix]: content for suffix, content in images.items()}
    names = [PurePosixPath(text).name for text in texts]
    if set(names) == set(by_name):
        return [by_name[name] for name in names]
    return list(images.values())


# Any: a JSON value can be of any type.
def _json(name: str, content: bytes) -> Any:
    text = _text(name, content).lstrip()
    try:
        decoded = decode(text, 0)
        if text[decoded.end :].strip():
            raise json.JSONDecodeError("Extra data", text, decoded.end)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} is broken JSON at line {error.lineno} column {error.colno}: {error.msg}") from error
    if decoded.problem:
        raise ValueError(f"{name}: {decoded.problem}")
    return decoded.value


def _member(name: str, suffix: str, content: bytes) -> Any:
    if suffix in _TEXT_SUFFIXES:
        return _text(name, content)
    if suffix in _NUMBER_SUFFIXES:
        text = _text(name, content).strip()
        return int(text) if text.lstrip("-").isdecimal() else text
    return content


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text ({error.reason})") from error
