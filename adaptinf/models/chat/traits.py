"""What a model's chat template and processor do, found by small trials."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

from adaptinf.data import Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat.ends import added_tokens, ends_of, named_stops, special_tokens
from adaptinf.models.chat.exchange import ANSWER, QUESTION, SYSTEM, exchange, trial
from adaptinf.models.chat.image_tokens import image_tokens_of
from adaptinf.models.chat.template import render
from adaptinf.models.chat.turns import BLOCKS, TEXT, Forms, Unusable, turns_of
from adaptinf.models.loading import Learner


@dataclass(frozen=True, kw_only=True)
class Traits:
    """How conversations become tokens for one model."""

    forms: Forms
    """Role -> whether the template takes content as text or as blocks."""
    placeholder: str | None
    """What stands for an image where content is text; None: nothing can."""
    takes_tools: bool
    """Whether the template shows tools to the model."""
    keeps_blanks: bool
    """Whether the template keeps the blanks that an answer begins with."""
    add_special: bool
    """Whether the tokenizer has to add its first token, because the template does not write it."""
    ends: frozenset[int]
    """Ids of the tokens that end an answer: the template's end of a turn, the tokenizer's and the model's end token."""
    writes_end: bool
    """Whether the template writes one of them after the last answer."""
    added_end: str | None
    """The end token that is added after the last answer where the template writes none; None: there is none."""
    controls: frozenset[int]
    """Ids of special tokens; a user's text must not write them."""
    control_texts: tuple[str, ...]
    """What such tokens, and those of images, look like in a text."""
    image_tokens: frozenset[int]
    """Ids of the tokens that stand for an image; empty for a text-only model."""


_KNOWN: WeakKeyDictionary[Any, dict[tuple[Any, ...], Traits]] = WeakKeyDictionary()
"""Processor -> template and end tokens -> traits."""


def traits_of(learner: Learner) -> Traits:
    """Return the traits of a learner, found at the first call.

    Raises:
        ModelError: its chat template writes neither contents of text nor of blocks.
    """
    key = (str(_template(learner)), *sorted(named_stops(learner)))
    known = _KNOWN.setdefault(learner.processor, {})
    if key not in known:
        known[key] = _found(learner)
    return known[key]


def _template(learner: Learner) -> object:
    return getattr(learner.processor, "chat_template", None) or learner.tokenizer.chat_template


def _found(learner: Learner) -> Traits:
    placeholder = _image_text(learner)
    forms = _forms(learner)
    special = added_tokens(learner)
    add_special = _adds_first_token(learner, forms)
    ends, writes_end = ends_of(learner, forms, add_special, special)
    images = image_tokens_of(learner, forms, placeholder, special)
    controls = special_tokens(learner) | ends
    texts = {learner.tokenizer.decode([token]).strip() for token in controls | (images & special)}
    return Traits(
        forms=forms,
        placeholder=placeholder,
        takes_tools=_takes_tools(learner, forms),
        keeps_blanks=_keeps_blanks(learner, forms),
        add_special=add_special,
        ends=ends,
        writes_end=writes_end,
        added_end=None if writes_end else _own_end(learner),
        controls=controls,
        control_texts=tuple(sorted(text for text in texts if len(text) > 1)),
        image_tokens=images,
    )


def _image_text(learner: Learner) -> str | None:
    """Return the text of one image in the processor's own words."""
    if not learner.has_vision:
        return None
    found = getattr(learner.processor, "image_token", None) or getattr(learner.tokenizer, "image_token", None)
    return None if found is None else str(found)


def _forms(learner: Learner) -> Forms:
    """Return the form of content that the template writes as it is, for each role.

    A template that is given blocks, and wants text, writes the blocks as a list of Python; one that is given text, and
    wants blocks, often writes nothing.

    Raises:
        ModelError: no form is written as it is.
    """
    order = (BLOCKS, TEXT) if learner.has_vision else (TEXT, BLOCKS)
    first = "no form was tried"
    for user, assistant in product(order, order):
        for system in order:
            forms = {"system": system, "user": user, "assistant": assistant}
            sample = trial(("system", SYSTEM), ("user", QUESTION), ("assistant", ANSWER))
            if _writes(learner, sample, forms) is None:
                return forms
        forms = {"system": user, "user": user, "assistant": assistant}
        reason = _writes(learner, exchange(), forms)
        if reason is None:
            # A template that refuses, or leaves out, a system prompt; a sample that has one is refused later.
            return forms
        first = first if first != "no form was tried" else reason
    raise ModelError(
        f"the chat template of {learner.config.path} does not write a question and an answer as they are ({first}); "
        "put the chat_template.jinja of its model family into the folder"
    )


def _writes(learner: Learner, sample: Sample, forms: Forms) -> str | None:
    """Return None if the template writes every text of a sample as it is, otherwise what is wrong."""
    try:
        turns = turns_of(sample, forms, None)
        text = render(learner, turns)
    except Unusable as error:
        return str(error)
    position = 0
    for message in sample.messages:
        words = str(message["content"][0]["text"])
        found = text.find(words, position)
        if found < 0:
            return f"the {message['role']}'s text is left out"
        position = found + len(words)
    # A list that is printed has the names of its keys beside the words.
    return "contents are printed as a list" if "'type': 'text'" in text or '"type": "text"' in text else None


def _adds_first_token(learner: Learner, forms: Forms) -> bool:
    """Return whether the tokenizer adds its first token, as `apply_chat_template` decides it.

    A tokenizer's template has all special tokens; that of a processor may lack the first.
    """
    bos = learner.tokenizer.bos_token
    text = render(learner, turns_of(exchange(), forms, None))
    return bool(learner.has_vision and not (bos is not None and text.startswith(bos)))


def _own_end(learner: Learner) -> str | None:
    """Return the end token that the tokenizer names, or else the model."""
    named = sorted(named_stops(learner))
    end = learner.tokenizer.eos_token or (learner.tokenizer.decode(named[:1]) if named else None)
    return str(end) if end else None


def _takes_tools(learner: Learner, forms: Forms) -> bool:
    name = "look_up_the_trial"
    function = {"name": name, "description": "A trial.", "parameters": {"type": "object", "properties": {}}}
    try:
        text = render(learner, turns_of(exchange(), forms, None), tools=[{"type": "function", "function": function}])
    except Unusable:
        return False
    return name in text


def _keeps_blanks(learner: Learner, forms: Forms) -> bool:
    answer = f" \n  {ANSWER}"
    try:
        return answer in render(learner, turns_of(trial(("user", QUESTION), ("assistant", answer)), forms, None))
    except Unusable:
        return False
