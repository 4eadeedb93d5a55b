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
from adaptinf.formats.columns import NO_MEDIA, image_path, image_paths, is_missing, media_tag, picture_path
from adaptinf.formats.in_row import GivenImage
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.words import counted

__all__ = [
    "BadRow",
    "Conversation",
    "Format",
    "GivenImage",
    "Parser",
    "Place",
    "Turn",
    "align",
    "image_path",
    "image_paths",
    "picture_path",
    "rest",
    "role_of",
    "shown",
]

# Any in this module: a value from a file can be of any JSON type.

TAG = "<image>"
ID_KEYS = ("id", "uid", "question_id", "__key__")
"""Keys that may hold a row's id; the first one present is used."""

# LLaVA writes a tag on a line of its own; that line break belongs to the tag.
TAG_WITH_BREAKS = re.compile(r"\n?<image>\n?")
PATH_IN_TEXT = re.compile(r"<img>([^<>\n]+)</img>")
"""An image that a question names in its text, as Qwen-VL has it."""
_TAG_OR_PATH = re.compile(rf"\n?(?:<image>|{PATH_IN_TEXT.pattern})\n?")


class Place(NamedTuple):
    """The position of an image in a turn."""

    path: str | GivenImage | None = None
    """The image's path, or the image itself; None: the next one of the row's list."""
    tag: str | None = None
    """The tag that stands for it in the row, with its line breaks; None: a block, or unknown."""
    number: int | None = None
    """Its number (from 0) in the row's list; None: the next one that no place names by number."""


class Turn(NamedTuple):
    """One turn as it is written in the file."""

    role: str
    """system, user or assistant."""
    pieces: Sequence[str | Place]
    """Texts and images in order; a text of a user turn may hold `<image>` tags."""
    is_learnt: bool = True
    """Whether the turn carries loss; read for turns of the assistant only."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a format reads from one row."""

    turns: Sequence[Turn]
    """The turns in order."""
    images: Sequence[str | GivenImage] = ()
    """The row's images, as `image_paths` gives them; values that say that there is no image are left out by `align`."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Every key of the row that the format does not use itself; `reading` takes id, system prompt and tools from it."""
    unread: Sequence[str] = ()
    """Keys of the row's turns and blocks that have a value and that the format does not read."""
    notes: Sequence[str] = ()
    """What the format repaired or added, in words."""
    pictures: InitVar[Sequence[str] | None] = None
    """Former name of `images`; plug-ins written for version 0.1 use it."""

    def __post_init__(self, pictures: Sequence[str] | None) -> None:
        """Take the images under either name."""
        if pictures is not None:
            object.__setattr__(self, "images", pictures)


class Parser(Protocol):
    """One way to find a conversation in a row of a file.

    A plug-in may also have `own_keys(row)`, the keys of a row that are its own: of several formats that recognise a
    row, the one with most of them reads it. A plug-in without ties with any other (`detection.claims`).
    """

    def sniff(self, row: Mapping[str, Any], /) -> bool:
        """Return whether a row looks like this format; called with rows of any kind."""

    def parse(self, row: Mapping[str, Any], /) -> Conversation:
        """Return the conversation in a row.

        Raises:
            BadRow: the row is not a conversation; the message says why.
        """


class Format(Parser, Protocol):
    """A way to find a conversation in a row, and to write one as a row. A format that is only read has no `render`."""

    def render(self, sample: Sample, images: Sequence[str], /) -> dict[str, Any]:
        """Return the row that `parse` reads as this sample, without id and meta.

        `images` are the sample's paths as they are to be written to the file.
        """


class Aligned(NamedTuple):
    """A conversation with one image per image block."""

    messages: tuple[Message, ...]
    images: tuple[str | GivenImage, ...]
    notes: tuple[str, ...]
    unlearnt: tuple[int, ...]
    tags: tuple[str | None, ...]


def align(conversation: Conversation, system: str = "") -> Aligned:
    """Return the messages with tags turned into image blocks, each with its image.

    Images without a tag or block are put before the first user turn, with a note. `system`, unless it is empty,
    becomes the first turn.

    Raises:
        BadRow: more tags than images, a tag outside a user turn, no answer or an empty one.
    """
    opening = [Turn("system", [system])] if system else []
    # Messages count the turns of the row from 1, so that a system prompt from a column is number 0.
    first = 1 - len(opening)
    turns = [_with_places(turn, number) for number, turn in enumerate([*opening, *conversation.turns], first)]
    _check_answers(turns, first)
    turns, others = _by_number(turns, conversation.images)
    waiting = [path for path in others if not is_missing(path)]
    open_places = sum(isinstance(piece, Place) and piece.path is None for turn in turns for piece in turn.pieces)
    if open_places > len(waiting):
        missing = [shown(path) for path in conversation.images if is_missing(path)]
        hint = f" ({missing[0]} means no image)" if missing else ""
        raise BadRow(f"{counted(open_places, 'image tag')} but {counted(len(waiting), 'image')}{hint}")
    num_unplaced = len(waiting) - open_places
    if num_unplaced:
        turns = _prepend(turns, num_unplaced)
    places = [piece for turn in turns for piece in turn.pieces if isinstance(piece, Place)]
    verb = "has" if num_unplaced == 1 else "have"
    unplaced = (f"{counted(num_unplaced, 'image')} {verb} no image tag: put before the first user turn",)
    return Aligned(
        messages=tuple(map(_message, turns)),
        images=tuple(waiting.pop(0) if place.path is None else place.path for place in places),
        notes=(*conversation.notes, *(unplaced if num_unplaced else ())),
        unlearnt=_unlearnt(turns),
        tags=tuple(place.tag for place in places),
    )


def _with_places(turn: Turn, number: int) -> Turn:
    pieces: list[str | Place] = []
    for piece in turn.pieces:
        if isinstance(piece, str):
            start = 0
            for match in (_TAG_OR_PATH if turn.role == "user" else TAG_WITH_BREAKS).finditer(piece):
                path = match[1] if match.re is _TAG_OR_PATH else None
                tag = match[0] if path is None else match[0].replace(f"<img>{path}</img>", TAG)
                pieces += [piece[start : match.start()], Place(path, tag)]
                start = match.end()
            pieces.append(piece[start:])
        else:
            pieces.append(piece)
    if turn.role != "user" and any(isinstance(piece, Place) for piece in pieces):
        raise BadRow(f"{TAG} in turn {number}, a turn of the {turn.role}: images are only allowed in user turns")
    media = media_tag("".join(piece for piece in turn.pieces if isinstance(piece, str)))
    if media and turn.role != "assistant":
        raise BadRow(f"{NO_MEDIA}: {media} in turn {number}")
    return turn._replace(pieces=pieces)


def _by_number(turns: Sequence[Turn], images: Sequence[str | GivenImage]) -> tuple[list[Turn], list[str | GivenImage]]:
    """Return the turns with the images that they name by number, and the images that none names so."""
    named = {piece.number for turn in turns for piece in turn.pieces if isinstance(piece, Place)} - {None}
    if not named:
        return list(turns), list(images)
    for number in named:
        if number is None or not 0 <= number < len(images) or is_missing(images[number]):
            raise BadRow(f"a turn shows image number {number}, but the row has {counted(len(images), 'image')}")

    def found(piece: str | Place) -> str | Place:
        if isinstance(piece, str) or piece.number is None:
            return piece
        return piece._replace(path=images[piece.number])

    placed = [turn._replace(pieces=list(map(found, turn.pieces))) for turn in turns]
    return placed, [image for number, image in enumerate(images) if number not in named]


def _unlearnt(turns: Sequence[Turn]) -> tuple[int, ...]:
    found = tuple(number for number, turn in enumerate(turns) if turn.role == "assistant" and not turn.is_learnt)
    if len(found) == sum(turn.role == "assistant" for turn in turns):
        raise BadRow("no answer to learn: the loss of every turn of the assistant is switched off")
    return found


def _check_answers(turns: Sequence[Turn], first: int) -> None:
    if all(turn.role != "assistant" for turn in turns):
        raise BadRow("no assistant turn: there is nothing to learn")
    for number, turn in enumerate(turns, first):
        if turn.role == "assistant" and not "".join(map(str, turn.pieces)).strip():
            raise BadRow(f"empty answer in turn {number}")


def _prepend(turns: Sequence[Turn], num_places: int) -> list[Turn]:
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        raise BadRow(f"{counted(num_places, 'image')} without an image tag, and no user turn to hold them")
    opened = turns[first]._replace(pieces=[Place(tag=f"{TAG}\n")] * num_places + list(turns[first].pieces))
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


def rest(row: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    """Return the keys of a row that a format does not use itself."""
    return {key: value for key, value in row.items() if key not in used}
