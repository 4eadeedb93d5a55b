"""The small conversations on which chat templates are tried."""

from __future__ import annotations

from adaptinf.data import Message, Sample

QUESTION, ANSWER, SYSTEM = "What is this?", "A small boat.", "Be brief."
"""Words of the trials."""


def trial(*turns: tuple[str, str]) -> Sample:
    """Return a conversation of roles and texts."""
    messages = tuple(Message(role=role, content=[{"type": "text", "text": text}]) for role, text in turns)
    return Sample(id="trial/0", source="trial", messages=messages)


def exchange() -> Sample:
    """Return a question and its answer."""
    return trial(("user", QUESTION), ("assistant", ANSWER))
