"""The interface of a format plug-in, and the rules that apply to every format.

A plug-in is one file with one class:

    @dataset_format("captions")
    class Captions:
        def sniff(self, row): return "caption" in row

        def parse(self, row):
            turns = [Turn("user", ["What is this?"]), Turn("assistant", [row["caption"]])]
            return Conversation(turns=turns, images=[row["file"]], meta={})

        def render(self, sample, images): return {"caption": ..., "file": images[0]}

The plug-in only finds the parts of a row. Ids, image files, image tags and empty answers are handled here and in
`reading`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, NamedTuple, Protocol

from adaptinf.data import Block, Message, Sample
from adaptinf.words import counted

# Any in this module: a value from a file can be of any JSON type.

TAG = "<image>"
ID_KEYS = ("id", "uid", "question_id")
"""Keys that may hold a row's id; the first one present is used."""

# LLaVA writes a tag on a line of its own; that line break belongs to the tag.
_TAG_WITH_BREAKS = re.compile(r"\n?<image>\n?")
_SHOWN_CHARACTERS = 80


class BadRow(ValueError):
    """A row that cannot become a sample; the message is the reason that is reported."""


class Place(NamedTuple):
    """The position of an image in a turn."""

    path: str | None = None
    """The image's path; None: the next path of the row's list."""


class Turn(NamedTuple):
    """One turn as it is written in the file."""

    role: str
    """system, user or assistant."""
    pieces: Sequence[str | Place]
    """Texts and images in order; a text of a user turn may hold `<image>` tags."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a format reads from one row."""

    turns: Sequence[Turn]
    """The turns in order."""
    images: Sequence[str] = ()
    """The row's list of image paths, as written."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Every key of the row that the format does not use itself; `reading` removes the row's id from it."""
    pictures: InitVar[Sequence[str] | None] = None
    """Former name of `images`; plug-ins written for version 0.1 use it."""

    def __post_init__(self, pictures: Sequence[str] | None) -> None:
        """Take the images under either name."""
        if pictures is not None:
            object.__setattr__(self, "images", pictures)


class Format(Protocol):
    """One way to write a conversation as a row of a file."""

    def sniff(self, row: Mapping[str, Any], /) -> bool:
        """Return whether a row looks like this format; called with rows of any kind."""

    def parse(self, row: Mapping[str, Any], /) -> Conversation:
        """Return the conversation in a row.

        Raises:
            BadRow: the row is not a conversation; the message says why.
        """

    def render(self, sample: Sample, images: Sequence[str], /) -> dict[str, Any]:
        """Return the row that `parse` reads as this sample, without id and meta.

        `images` are the sample's paths as they are to be written to the file.
        """


class Aligned(NamedTuple):
    """A conversation with one path per image block."""

    messages: tuple[Message, ...]
    images: tuple[str, ...]
    notes: tuple[str, ...]


def align(conversation: Conversation) -> Aligned:
    """Return the messages with tags turned into image blocks, each with its image.

    Images without a tag or block are put before the first user turn, with a note.

    Raises:
        BadRow: more tags than images, a tag outside a user turn, no answer or an empty one.
    """
    turns = [Turn(turn.role, _split_tags(turn, number)) for number, turn in enumerate(conversation.turns, 1)]
    _check_answers(turns)
    waiting = list(conversation.images)
    open_places = sum(piece == Place() for turn in turns for piece in turn.pieces)
    if open_places > len(waiting):
        raise BadRow(f"{counted(open_places, 'image tag')} but {counted(len(waiting), 'image')}")
    num_unplaced = len(waiting) - open_places
    if num_unplaced:
        turns = _prepend(turns, num_unplaced)
    paths = [piece.path or waiting.pop(0) for turn in turns for piece in turn.pieces if isinstance(piece, Place)]
    verb = "has" if num_unplaced == 1 else "have"
    notes = (f"{counted(num_unplaced, 'image')} {verb} no image tag: put before the first user turn",)
    return Aligned(tuple(map(_message, turns)), tuple(paths), notes if num_unplaced else ())


def _split_tags(turn: Turn, number: int) -> list[str | Place]:
    pieces: list[str | Place] = []
    for piece in turn.pieces:
        if isinstance(piece, str) and TAG in piece:
            first, *others = _TAG_WITH_BREAKS.split(piece)
            pieces.append(first)
            for text in others:
                pieces += [Place(), text]
        else:
            pieces.append(piece)
    if turn.role != "user" and any(isinstance(piece, Place) for piece in pieces):
        raise BadRow(f"{TAG} in turn {number}, a turn of the {turn.role}: images are only allowed in user turns")
    return pieces


def _check_answers(turns: Sequence[Turn]) -> None:
    if all(turn.role != "assistant" for turn in turns):
        raise BadRow("no assistant turn: there is nothing to learn")
    for number, turn in enumerate(turns, 1):
        if turn.role == "assistant" and not "".join(map(str, turn.pieces)).strip():
            raise BadRow(f"empty answer in turn {number}")


def _prepend(turns: Sequence[Turn], num_places: int) -> list[Turn]:
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        raise BadRow(f"{counted(num_places, 'image')} without an image tag, and no user turn to hold them")
    opened = Turn("user", [Place()] * num_places + list(turns[first].pieces))
    return [*turns[:first], opened, *turns[first + 1 :]]


def _message(turn: Turn) -> Message:
    """Return a turn as blocks.

    Empty texts are left out and adjacent texts are joined, so that a sample is the same in every format.
    """
    content: list[Block] = []
    for piece in turn.pieces:
        if isinstance(piece, Place):
            content.append({"type": "image", "text": None})
        elif content and content[-1]["type"] == "text":
            content[-1] = {"type": "text", "text": f"{content[-1]['text']}{piece}"}
        elif piece:
            content.append({"type": "text", "text": piece})
    return {"role": turn.role, "content": content}


def role_of(name: object, number: int, roles: Mapping[str, str]) -> str:
    """Return the role of turn `number` (counted from 1): what `roles` maps its name to.

    Raises:
        BadRow: the name is not a key of `roles`.
    """
    if not isinstance(name, str) or name not in roles:
        raise BadRow(f"unknown role {shown(name)} in turn {number}; known: {', '.join(sorted(roles))}")
    return roles[name]


def image_paths(row: Mapping[str, Any]) -> list[str]:
    """Return the paths under `image` or `images`: a path, a list of paths, or nothing.

    Raises:
        BadRow: both keys are used, or a path is not text.
    """
    image, images = row.get("image"), row.get("images")
    if image is not None and images:
        raise BadRow("image and images are both given; keep one of them")
    value = image if image is not None else images
    if value is None:
        return []
    return [image_path(item) for item in (value if isinstance(value, list) else [value])]


def image_path(value: object) -> str:
    """Return the path of an image: the value itself if it is text, or `path` or `url` of an object.

    Raises:
        BadRow: the value is neither.
    """
    if isinstance(value, Mapping):
        value = value.get("path") or value.get("url")
    if not isinstance(value, str):
        raise BadRow(f"image {shown(value)} is not a path")
    return value


picture_path = image_path
"""Former name of `image_path`; plug-ins written for version 0.1 import it."""


def rest(row: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    """Return the keys of a row that a format does not use itself."""
    return {key: value for key, value in row.items() if key not in used}


def shown(value: object) -> str:
    """Return a value as text for a message, cut to a readable length."""
    text = repr(value[: _SHOWN_CHARACTERS + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
