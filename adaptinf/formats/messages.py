"""OpenAI and TRL messages: `{messages: [{role, content: text or blocks}], images: [paths]}`.

A block is `{type: text, text}`, `{type: image}` (the next of `images`), `{type: image, path|url|image: path}` or
`{type: image_url, image_url: {url: path}}`. Images are local files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from adaptinf.data import Message, Sample
from adaptinf.formats.columns import NO_MEDIA, image_path, image_paths, is_media_block, is_missing
from adaptinf.formats.conversation import TAG_WITH_BREAKS, Conversation, Place, Turn, rest, role_of
from adaptinf.formats.plain import PlainShape
from adaptinf.formats.reasons import BadRow, shown, shown_keys
from adaptinf.formats.tags import default_tag, sample_tags
from adaptinf.formats.turn_keys import is_learnt, unread_keys
from adaptinf.registry import dataset_format

ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
USED = frozenset({"messages", "image", "images"})
TURN_KEYS = frozenset({"role", "content"})
PATH_KEYS = ("path", "url", "image", "image_url")


@dataset_format("messages")
@dataclass(frozen=True, kw_only=True)
class Messages:
    """Rows with `messages`, as the OpenAI API and TRL use them."""

    plain: ClassVar[PlainShape] = PlainShape(turns="messages", role="role", text="content", roles=ROLES, used=USED)
    with_images: bool | None = None
    """How rows are written. Arrow needs rows of one kind: True writes blocks and `images` in every row, False writes
    plain texts in every row. None writes blocks in every row, and `images` in rows with images."""
    with_weights: bool = False
    """Whether every turn of the assistant is written with its `weight`, 1 or 0, for the same reason; False: `weight: 0`
    in turns that are not learnt."""
    with_tags: bool = False
    """Whether every image block is written with its `tag`, the text that stood for it, for the same reason; False:
    where it is another than formats write anyway."""

    @classmethod
    def fitting(cls, samples: Iterable[Sample]) -> Messages:
        """Return the format that writes in every row what any of these samples needs."""
        images = weights = tags = False
        for sample in samples:
            images, weights = images or bool(sample.images), weights or bool(sample.unlearnt)
            tags = tags or any("tag" in block for content in _contents(sample, False) for block in content)
        return cls(with_images=images, with_weights=weights, with_tags=tags)

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `messages` with roles."""
        turns = row.get("messages")
        return isinstance(turns, list) and all(isinstance(turn, Mapping) and "role" in turn for turn in turns)

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["messages"]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        if "messages" not in row:
            raise BadRow(f"the row has no `messages`; its keys are {shown_keys(row)}")
        turns = row["messages"]
        if not isinstance(turns, list):
            raise BadRow(f"messages is {shown(turns)}, not a list of turns")
        unread: list[str] = []
        parsed = [_turn(turn, number, unread) for number, turn in enumerate(turns, 1)]
        return Conversation(turns=parsed, images=image_paths(row), meta=rest(row, USED), unread=unread)

    def render(self, sample: Sample, images: Sequence[str]) -> dict[str, Any]:
        """Return a row with blocks or texts, and the paths in `images`, in order."""
        if self.with_images is False:
            assert not images, f"{sample.id} has images"
            return {"messages": self._turns(sample, [_text(turn) for turn in sample.messages])}
        named = {"images": list(images)} if images or self.with_images else {}
        return {**named, "messages": self._turns(sample, _contents(sample, self.with_tags))}

    def _turns(self, sample: Sample, contents: Sequence[Any]) -> list[dict[str, Any]]:
        turns: list[dict[str, Any]] = []
        for number, (turn, content) in enumerate(zip(sample.messages, contents, strict=True)):
            weight = {"weight": 0 if number in sample.unlearnt else 1} if turn["role"] == "assistant" else {}
            is_shown = self.with_weights or number in sample.unlearnt
            turns.append({"role": turn["role"], "content": content, **(weight if is_shown else {})})
        return turns


def _turn(turn: object, number: int, unread: list[str]) -> Turn:
    """Return one turn; the names of keys that nothing reads are added to `unread`."""
    if not isinstance(turn, Mapping):
        raise BadRow(f"turn {number} is {shown(turn)}, not an object with role and content")
    if "role" not in turn:
        raise BadRow(f"turn {number} has no `role`; expected role and content, its keys are {shown_keys(turn)}")
    role = role_of(turn["role"], number, ROLES)
    unread += [f"messages[].{key}" for key in unread_keys(turn, number, TURN_KEYS, role)]
    learnt = role != "assistant" or is_learnt(turn, number)
    content = turn.get("content")
    if isinstance(content, str):
        return Turn(role, [content], learnt)
    if not isinstance(content, list):
        raise BadRow(f"content of turn {number} is {shown(content)}, neither text nor a list of blocks")
    return Turn(role, [_piece(block, number) for block in content], learnt)


def _piece(block: object, number: int) -> str | Place:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if isinstance(block, Mapping) and kind == "text":
        text = block.get("text")
        if not isinstance(text, str):
            raise BadRow(f"text block of turn {number} holds {shown(text)}, not text")
        return text
    if isinstance(block, Mapping) and kind in ("image", "image_url"):
        values = [block[key] for key in PATH_KEYS if not is_missing(block.get(key))]
        tag = block.get("tag")
        is_tag = isinstance(tag, str) and TAG_WITH_BREAKS.fullmatch(tag) is not None
        return Place(image_path(values[0]) if values else None, tag if is_tag else None)
    if is_media_block(kind):
        raise BadRow(f"{NO_MEDIA}: a block of type {shown(kind)} in turn {number}")
    raise BadRow(f"block {shown(block)} in turn {number} is neither a text nor an image")


def _text(message: Message) -> str:
    return "".join(block["text"] or "" for block in message["content"])


def _contents(sample: Sample, with_tags: bool) -> list[list[dict[str, Any]]]:
    """Return each turn as blocks; an image's has its `tag` if `with_tags`, or if it is not the usual one."""
    tags = iter(sample_tags(sample))
    return [_blocks(message, tags, with_tags) for message in sample.messages]


def _blocks(message: Message, tags: Iterator[str | None], with_tags: bool) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for number, block in enumerate(message["content"]):
        if block["type"] == "image":
            usual = default_tag(message, number)
            tag = next(tags) or usual
            blocks.append({"type": "image", **({"tag": tag} if with_tags or tag != usual else {})})
        else:
            blocks.append({"type": "text", "text": block["text"]})
    return blocks
