"""Conversations as text, and where the answers stand in it.

One rendering has marks, private characters, around each answer. Without the marks it must be the plain rendering; where
it is not, because the template looks into the answers, an answer must begin right after the prompt for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adaptinf.data import Sample
from adaptinf.models.chat.template import Span, render
from adaptinf.models.chat.traits import Traits
from adaptinf.models.chat.turns import Unusable, learnt_turns, merged, text_of, text_of_message, turns_of
from adaptinf.models.loading import Learner
from adaptinf.words import shortened

PRIVATE = tuple(map(chr, range(0xE000, 0xE010)))
"""Characters without a meaning of their own; two that the conversation does not use mark its answers."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A conversation as the template writes it."""

    sample: Sample
    """The conversation; turns of one role are merged where the template refuses them otherwise."""
    text: str
    """Its text; images are still single tags."""
    answers: tuple[Span, ...]
    """Where the answers that carry a loss stand in the text; blanks that they begin with count if the template keeps
    them."""


def rendered(learner: Learner, traits: Traits, sample: Sample) -> Rendered:
    """Return a conversation as text, with the places of the answers that carry a loss.

    Raises:
        Unusable: the template refuses the conversation, or does not write an answer as it is.
    """
    if sample.tools and not traits.takes_tools:
        raise Unusable("the sample has tools, and the chat template does not show tools to the model")
    try:
        text = _plain(learner, traits, sample)
    except Unusable:
        sample, original = merged(sample), sample
        if sample is original:
            raise
        text = _plain(learner, traits, sample)
    spans = _marked_answers(learner, traits, sample, text)
    if spans is None:
        spans = _answers_after_prompts(learner, traits, sample, text)
    if traits.added_end is not None and learnt_turns(sample)[-1:] == [len(sample.messages) - 1]:
        # The template ends no answer, so the model would never learn to stop.
        text = text[: spans[-1].stop] + traits.added_end
    return Rendered(sample=sample, text=text, answers=tuple(spans))


def _plain(learner: Learner, traits: Traits, sample: Sample) -> str:
    return render(learner, turns_of(sample, traits.forms, traits.placeholder), tools=sample.tools)


def _marked_answers(learner: Learner, traits: Traits, sample: Sample, text: str) -> list[Span] | None:
    """Return where the answers stand, found by marks; None where the marks change what the template writes."""
    learnt = learnt_turns(sample)
    opening, closing = _free_marks(text_of(sample))

    def marked(number: int, answer: str) -> str:
        core = answer.strip()
        if number not in learnt or not core:
            return answer
        start = answer.index(core)
        # Inside of the blanks, so that a template which trims answers trims them here as well.
        return f"{answer[:start]}{opening}{core}{closing}{answer[start + len(core) :]}"

    try:
        with_marks = render(learner, turns_of(sample, traits.forms, traits.placeholder, marked), tools=sample.tools)
    except Unusable:
        return None
    spans = split_marks(with_marks, text, opening, closing)
    if spans is None or len(spans) != len(learnt):
        return None
    if not traits.keeps_blanks:
        return spans
    return [_with_blanks(span, text, sample, number) for span, number in zip(spans, learnt, strict=True)]


def _with_blanks(span: Span, text: str, sample: Sample, number: int) -> Span:
    """Return the span with the blanks that the answer itself begins with."""
    answer = text_of_message(sample.messages[number])
    blanks = answer[: len(answer) - len(answer.lstrip())]
    start = span.start - len(blanks)
    return Span(start, span.stop) if text[start : span.start] == blanks else span


def split_marks(with_marks: str, text: str, opening: str, closing: str) -> list[Span] | None:
    """Return what stands between the marks; None where they do not alternate, or where the text is another one."""
    pieces = re.split(f"([{opening}{closing}])", with_marks)
    if "".join(pieces[::2]) != text or pieces[1::2] != [opening, closing] * (len(pieces) // 4):
        return None
    spans, position = [], 0
    for outside, inside in zip(pieces[::4], pieces[2::4], strict=False):
        start = position + len(outside)
        position = start + len(inside)
        spans.append(Span(start, position))
    return spans


def _free_marks(text: str) -> tuple[str, str]:
    free = [mark for mark in PRIVATE if mark not in text]
    if len(free) < 2:
        raise Unusable("the conversation uses the private characters U+E000 to U+E00F, which must mark its answers")
    return free[0], free[1]


def _answers_after_prompts(learner: Learner, traits: Traits, sample: Sample, text: str) -> list[Span]:
    """Return where the answers stand, each right after the prompt for it, blanks apart.

    Raises:
        Unusable: an answer does not stand there.
    """
    turns = turns_of(sample, traits.forms, traits.placeholder)
    spans = []
    for number in learnt_turns(sample):
        prompt = render(learner, turns[:number], prompt=True, tools=sample.tools)
        answer = text_of_message(sample.messages[number]).strip()
        stop = _end_of(answer, text, len(prompt)) if text.startswith(prompt) else None
        if stop is None:
            raise Unusable(
                f"the chat template does not write the answer of turn {number + 1} as it is: {shortened(repr(answer))}"
            )
        spans.append(Span(len(prompt), stop))
    return spans


def _end_of(answer: str, text: str, start: int) -> int | None:
    """Return where the answer ends in a text that has it from `start` on, blanks apart; None if it has not."""
    position = start
    for character in answer:
        if character.isspace():
            continue
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text) or text[position] != character:
            return None
        position += 1
    return position
