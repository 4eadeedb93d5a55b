"""The answers to a test item as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from adaptinf.cli.sample_text import as_lines, line, shortened_turn

if TYPE_CHECKING:
    from adaptinf.history.items import ItemAnswer, ItemHistory

ENDS = {"end": "by the model", "length": "cut off at max_new_tokens", "": "not recorded"}
"""Reason to stop -> its words."""


def item_text(history: ItemHistory) -> str:
    """Return all answers as lines of text; prompt and allowed answers only where they are not as before."""
    return as_lines(_lines(history))


def _lines(history: ItemHistory) -> Iterator[str]:
    yield f"{history.id}: a test item of {history.skill}, metric {history.metric or 'unknown'}"
    before: ItemAnswer | None = None
    for answer in history.answers:
        yield "base model" if answer.step < 0 else f"step {answer.step}"
        if answer.rejected:
            yield line("rejected", "by the model that the gate took back; it counts nowhere")
        if answer.changed:
            yield line("changed", "the item is another one than in the test before")
        if before is None or answer.prompt != before.prompt:
            yield line("prompt", shortened_turn(answer.prompt) or "not recorded")
        if before is None or answer.allowed != before.allowed:
            yield line("allowed", shortened_turn(" | ".join(answer.allowed)))
        yield line("prediction", shortened_turn(answer.prediction) or "(empty)")
        yield line("score", f"strict {_score(answer.strict)}, tolerant {_score(answer.tolerant)}")
        yield line("ended", ENDS.get(answer.stop, answer.stop))
        before = answer


def _score(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "not known"
