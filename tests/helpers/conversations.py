"""Conversations in few words, and the tiny vision-language model that the package carries."""

from __future__ import annotations

from pathlib import Path

from adaptinf.data import Message, Sample

BASE_PATH = Path(__file__).parents[2] / "adaptinf" / "demo" / "base"


def say(role: str, *blocks: str) -> Message:
    """Return a message; the block "<image>" stands for an image."""
    return Message(
        role=role,
        content=[
            {"type": "image", "text": None} if block == "<image>" else {"type": "text", "text": block}
            for block in blocks
        ],
    )


def conversation(name: str, *messages: Message, images: tuple[Path, ...] = ()) -> Sample:
    """Return a sample of a source called `test`."""
    return Sample(id=f"test/{name}", source="test", messages=messages, images=images)
