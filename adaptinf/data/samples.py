"""The rows of a dataset: samples, and rows that are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from adaptinf.images import StoredImage
from adaptinf.images.contents import ImageContent
from adaptinf.words import counted


class Block(TypedDict):
    """One piece of a message: an image (in the order of `Sample.images`) or a text."""

    type: str
    text: str | None


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: list[Block]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One conversation: one or more turns, with no, one or several images."""

    id: str
    """`<source>/<own id>`, unique in a pool."""
    source: str
    """Name of the dataset that it came with."""
    messages: tuple[Message, ...]
    """The turns; roles are system, user and assistant."""
    images: tuple[Path | ImageContent, ...] = ()
    """Image files, or contents that are no files, one per image block, in order."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the row (skill, task, ...), for measurements; only oracle selects by the skill."""
    notes: tuple[str, ...] = ()
    """What the reader repaired, in words."""
    unlearnt: tuple[int, ...] = ()
    """Numbers (from 0) of the assistant's turns that carry no loss, as the flags of the row's turns say."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Tools that the assistant may call, as JSON schemas, for the chat templates that show them."""
    tags: tuple[str | None, ...] = field(default=(), compare=False)
    """The tag of each image as the file has it, with its line breaks; empty, or None: a block, or unknown."""
    reductions: tuple[int, ...] = ()
    """How many times smaller each image is decoded, where a JPEG has too many pixels; empty: none is reduced."""
    unread: tuple[str, ...] = field(default=(), compare=False)
    """Keys of the row and of its turns that nothing reads; known right after reading only, not in a pool."""
    scalings: tuple[str, ...] = field(default=(), compare=False)
    """How pixels of more than eight bits are scaled, in words; known right after reading only, not in a pool."""

    @property
    def stored_images(self) -> tuple[StoredImage, ...]:
        """The images, as they are decoded for every use."""
        reductions = self.reductions or (1,) * len(self.images)
        return tuple(map(StoredImage, self.images, reductions))

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """Role and text of each turn; `<image>` stands for an image."""
        return tuple((turn["role"], " ".join(map(_text_of, turn["content"]))) for turn in self.messages)

    def __repr__(self) -> str:
        return f"Sample({self.id!r}: {counted(len(self.messages), 'turn')}, {counted(len(self.images), 'image')})"

    def _repr_html_(self) -> str:
        """Return the conversation and the names of the images as notebooks show them."""
        turns = "".join(f"<li><b>{escape(role)}</b>: {escape(text)}</li>" for role, text in self.turns)
        images = "".join(f"<li><i>image</i>: {escape(str(image))}</li>" for image in self.images)
        return f"<p>{escape(self.id)}</p><ul>{turns}{images}</ul>"


def _text_of(block: Block) -> str:
    return "<image>" if block["type"] == "image" else block["text"] or ""


@runtime_checkable
class HasIds(Protocol):
    """A sequence of samples that knows their ids without reading the samples."""

    @property
    def ids(self) -> np.ndarray:
        """N ids (object array of str), in the order of the samples."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that cannot become a sample, and why."""

    file: str
    """The file that the row is in."""
    row: int
    """Number of the row in its file, from 0; -1 for the file as a whole."""
    reason: str
    """What is wrong, in words, including the value."""
    id: str = ""
    """The id that the sample would have; empty for the file as a whole."""
    ends_file: bool = False
    """Whether nothing after this row can be read: the file is broken here."""
