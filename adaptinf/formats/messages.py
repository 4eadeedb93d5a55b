"""OpenAI and TRL messages: `{messages: [{role, content: text or blocks}], images: [paths]}`, or `prompt`, `completion`.

`turns` says what a block may be. `prompt` and `completion` are texts or lists of messages; a prompt's own answers are
not learnt, as TRL has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from adaptinf.data import Message, Sample
from adaptinf.formats.columns import has, image_paths, is_missing
from adaptinf.formats.conversation import Conversation, Turn, rest
from adaptinf.formats.plain import PlainShape
from adaptinf.formats.reasons import BadRow
from adaptinf.formats.tags import default_tag, sample_tags
from adaptinf.formats.turns import ROLES, Found, blocks_in, looks_like_turns, turns_in
from adaptinf.registry import dataset_format

USED = frozenset({"messages", "image", "images"})
PARTS = ("prompt", "completion")
"""Keys of a conversation in two parts."""
PREFERENCES = ("chosen", "rejected")
"""Keys of rows that hold a good and a bad answer."""


@dataset_format("messages")
@dataclass(frozen=True, kw_only=True)
class Messages:
    """Rows with `messages`, as the OpenAI API and TRL use them."""

    plain: ClassVar[PlainShape] = PlainShape(turns="messages", role="role", text="content", roles=ROLES, used=USED)
    answer_key: ClassVar[str] = "completion"
    """Key of an answer that rows of a test file with `answers` may lack."""
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
        """Return whether the row has `messages` with roles, or a prompt and its completion."""
        if has(row, "messages"):
            return looks_like_turns(row["messages"])
        return has(row, *PARTS) or has(row, *PREFERENCES)

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        if has(row, "messages"):
            return ["messages"] if row["messages"] else []
        return [key for key in (*PARTS, *PREFERENCES) if has(row, key)]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        if not has(row, "messages") and any(has(row, key) for key in (*PARTS, *PREFERENCES)):
            return _of_parts(row)
        found = turns_in(row, "messages")
        return Conversation(turns=found.turns, images=image_paths(row), meta=rest(row, USED), unread=found.unread)

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


def _of_parts(row: Mapping[str, Any]) -> Conversation:
    """Return the conversation of a prompt and its completion."""
    if not is_missing(row.get(PREFERENCES[0])):
        raise BadRow("the row has `chosen`: preference data are not supported; leave the column out")
    if isinstance(row.get("label"), bool):
        raise BadRow("the row has `label`, true or false: preference data are not supported; leave the column out")
    prompt, completion = _part(row, "prompt", "user"), _part(row, "completion", "assistant")
    turns = [*(turn._replace(is_learnt=False) for turn in prompt.turns), *completion.turns]
    meta = rest(row, USED | {*PARTS})
    return Conversation(turns=turns, images=image_paths(row), meta=meta, unread=prompt.unread + completion.unread)


def _part(row: Mapping[str, Any], key: str, role: str) -> Found:
    value = row.get(key)
    if isinstance(value, str) and not (value and looks_like_turns(value)):
        return Found(turns=[Turn(role, [value])])
    return turns_in(row, key)


def _text(message: Message) -> str:
    """Return the text of a turn; one that would be read as the JSON of blocks is written as the JSON of one block."""
    text = "".join(block["text"] or "" for block in message["content"])
    return text if blocks_in(text) is None else json.dumps([{"type": "text", "text": text}], ensure_ascii=False)


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
