"""MiniCPM-V: `{id, image: {"<image_00>": path}, conversations: [{role, content}]}` with these tags in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import image_path, is_missing
from adaptinf.formats.conversation import TAG, Conversation, Place, Turn, rest
from adaptinf.formats.reasons import BadRow, shown
from adaptinf.formats.turns import looks_like_turns, turns_in
from adaptinf.registry import dataset_format

USED = frozenset({"image", "conversations"})

_TAG = re.compile(r"<[^<>\s]+>")
_NUMBERED = re.compile(r"<image_\d+>")


@dataset_format("minicpm")
class MiniCpm:
    """Rows of MiniCPM-V, whose images stand under tags; a tag that several turns have shows its image again."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has turns, and images under tags."""
        return _has_tags(row.get("image")) and looks_like_turns(row.get("conversations"))

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["conversations", "image"]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        named = row.get("image")
        if not isinstance(named, Mapping) or not _has_tags(named):
            raise BadRow(f"image is {shown(named)}, not an object of tags and paths")
        found = turns_in(row, "conversations")
        images = {tag: image_path(value) for tag, value in named.items() if not is_missing(value)}
        used: set[str] = set()
        turns = [_placed(turn, number, images, used) for number, turn in enumerate(found.turns, 1)]
        others = [image for tag, image in images.items() if tag not in used]
        return Conversation(turns=turns, images=others, meta=rest(row, USED), unread=found.unread)


# Any: a value from a file can be of any JSON type.
def _has_tags(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(_TAG.fullmatch(str(key)) for key in value)


def _placed(turn: Turn, number: int, images: Mapping[str, Any], used: set[str]) -> Turn:
    """Return a turn with the images in place of their tags, which are added to `used`."""
    tags = re.compile("|".join(rf"\n?{re.escape(tag)}\n?" for tag in images if tag != TAG) or r"(?!)")
    pieces: list[str | Place] = []
    for piece in turn.pieces:
        if not isinstance(piece, str):
            pieces.append(piece)
            continue
        start = 0
        for match in tags.finditer(piece):
            tag = match[0].strip("\n")
            used.add(tag)
            pieces += [piece[start : match.start()], Place(images[tag], match[0].replace(tag, TAG))]
            start = match.end()
        pieces.append(piece[start:])
    texts = [piece for piece in pieces if isinstance(piece, str)]
    if other := next(filter(None, map(_NUMBERED.search, texts)), None):
        raise BadRow(f"{other[0]} in turn {number} names no image")
    return turn._replace(pieces=pieces)
