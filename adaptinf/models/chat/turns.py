"""A sample's messages in the form that a chat template takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adaptinf.data import Block, Message, Sample

Turns = list[dict[str, Any]]
"""What a chat template takes: role, and content as text or as blocks."""
Forms = Mapping[str, str]
"""Role -> TEXT or BLOCKS: the form of its content."""
TEXT, BLOCKS = "text", "blocks"
BETWEEN_MERGED = "\n\n"
"""Stands between two turns of one role that are merged for a template which refuses them."""


class Unusable(ValueError):
    """A sample that this model cannot learn from, or be asked; the message is the reason that is reported."""


def turns_of(
    sample: Sample, forms: Forms, placeholder: str | None, written: Callable[[int, str], str] = lambda _, text: text
) -> Turns:
    """Return the turns of a sample.

    Args:
        sample: the conversation.
        forms: form of the content by role.
        placeholder: stands for an image in a content of text; None: there is no such text.
        written: makes what is written from the number and the text of an assistant's turn.

    Raises:
        Unusable: an image in a turn whose content the template takes as text only.
    """
    turns: Turns = []
    for number, message in enumerate(sample.messages):
        role, blocks = message["role"], message["content"]
        if role == "assistant":
            blocks = [{"type": "text", "text": written(number, text_of_message(message))}]
        content = _as_blocks(blocks) if forms[role] == BLOCKS else _as_text(blocks, placeholder)
        turns.append({"role": role, "content": content})
    return turns


def _as_blocks(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [{"type": "image"} if block["type"] == "image" else dict(block) for block in blocks]


def _as_text(blocks: Sequence[Block], placeholder: str | None) -> str:
    if placeholder is None and any(block["type"] == "image" for block in blocks):
        raise Unusable("the chat template takes text only, and the processor names no token for an image")
    return "".join(str(placeholder) if block["type"] == "image" else block["text"] or "" for block in blocks)


def text_of_message(message: Message) -> str:
    """Return the text of a turn, without its images."""
    return "".join(block["text"] or "" for block in message["content"] if block["type"] == "text")


def text_of(sample: Sample) -> str:
    """Return the text of a conversation, to estimate its length."""
    return "\n".join(block["text"] or "" for message in sample.messages for block in message["content"])


def without_images(sample: Sample) -> Sample:
    """Return the conversation without its image blocks."""
    messages = tuple(
        Message(role=message["role"], content=[block for block in message["content"] if block["type"] != "image"])
        for message in sample.messages
    )
    return replace(sample, messages=messages, images=(), reductions=())


def learnt_turns(sample: Sample) -> list[int]:
    """Return the numbers of the assistant's turns that carry a loss."""
    answers = (number for number, message in enumerate(sample.messages) if message["role"] == "assistant")
    return [number for number in answers if number not in sample.unlearnt]


def merged(sample: Sample) -> Sample:
    """Return the conversation with neighbouring turns of one role in one turn, BETWEEN_MERGED between their texts.

    Turns of which only one carries a loss stay apart. The sample itself comes back where nothing can be merged.
    """
    messages: list[Message] = []
    unlearnt: list[int] = []
    for number, message in enumerate(sample.messages):
        is_unlearnt = number in sample.unlearnt
        same_role = bool(messages) and messages[-1]["role"] == message["role"]
        if same_role and is_unlearnt == (len(messages) - 1 in unlearnt):
            between: Block = {"type": "text", "text": BETWEEN_MERGED}
            messages[-1] = Message(
                role=message["role"], content=[*messages[-1]["content"], between, *message["content"]]
            )
            continue
        messages.append(message)
        if is_unlearnt:
            unlearnt.append(len(messages) - 1)
    if len(messages) == len(sample.messages):
        return sample
    return replace(sample, messages=tuple(messages), unlearnt=tuple(unlearnt))
