"""What a model's chat template and processor do, found by small trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

from PIL import Image

from adaptinf.data import Message, Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat.template import Span, render
from adaptinf.models.chat.tokens import end_after, tokenise, tokens_of
from adaptinf.models.chat.turns import BLOCKS, TEXT, Forms, Unusable, turns_of
from adaptinf.models.loading import Learner

QUESTION, ANSWER, SYSTEM = "What is this?", "A small boat.", "Be brief."
"""Words of the trials."""
TRIAL_SIZE = (336, 336)
"""Width and height of the image of the trials."""


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
    key = (str(_template(learner)), *sorted(_stops(learner)))
    known = _KNOWN.setdefault(learner.processor, {})
    if key not in known:
        known[key] = _found(learner)
    return known[key]


def _template(learner: Learner) -> object:
    return getattr(learner.processor, "chat_template", None) or learner.tokenizer.chat_template


def _found(learner: Learner) -> Traits:
    placeholder = _image_text(learner)
    forms = _forms(learner)
    special = _added_tokens(learner)
    add_special = _adds_first_token(learner, forms)
    ends, writes_end = _ends(learner, forms, add_special, special)
    images = _image_tokens(learner, forms, placeholder, special)
    controls = _special_tokens(learner) | ends
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


def _trial(*turns: tuple[str, str]) -> Sample:
    messages = tuple(Message(role=role, content=[{"type": "text", "text": text}]) for role, text in turns)
    return Sample(id="trial/0", source="trial", messages=messages)


def _exchange() -> Sample:
    return _trial(("user", QUESTION), ("assistant", ANSWER))


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
            sample = _trial(("system", SYSTEM), ("user", QUESTION), ("assistant", ANSWER))
            if _writes(learner, sample, forms) is None:
                return forms
        forms = {"system": user, "user": user, "assistant": assistant}
        reason = _writes(learner, _exchange(), forms)
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
    text = render(learner, turns_of(_exchange(), forms, None))
    return bool(learner.has_vision and not (bos is not None and text.startswith(bos)))


def _special_tokens(learner: Learner) -> frozenset[int]:
    """Return the ids that are special tokens by use (bos, eos, ...) or by the flag of an added token.

    Some tokenizers flag their tokens for single bytes as well; those decode to the byte, not to their own name.
    """
    tokenizer = learner.tokenizer
    flagged = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = {number for number, content in flagged.items() if tokenizer.decode([number]).strip() == content.strip()}
    return frozenset(tokenizer.all_special_ids) | named


def _added_tokens(learner: Learner) -> frozenset[int]:
    """Return the ids of the tokens that were added to the vocabulary, special or not."""
    tokenizer = learner.tokenizer
    return frozenset(tokenizer.all_special_ids) | frozenset(tokenizer.added_tokens_decoder)


def _stops(learner: Learner) -> frozenset[int]:
    """Return the ids of the end tokens that the model and its tokenizer name."""
    config = getattr(learner.model, "generation_config", None)
    named = getattr(config, "eos_token_id", None)
    several = named if isinstance(named, list | tuple) else [named]
    return frozenset(int(token) for token in [*several, learner.tokenizer.eos_token_id] if token is not None)


def _own_end(learner: Learner) -> str | None:
    end = learner.tokenizer.eos_token
    return None if end is None else str(end)


def _ends(learner: Learner, forms: Forms, add_special: bool, special: frozenset[int]) -> tuple[frozenset[int], bool]:
    """Return the ids that end an answer, and whether the template writes one after the last answer.

    They are the named end tokens; the special token after the last answer; and that after an earlier answer if
    questions end with it too, since another one would open the next turn.
    """
    named = _stops(learner)
    after_question, after_answer, after_last = _followers(learner, forms, add_special)
    ends = set(named)
    if after_last in special and after_last is not None:
        ends.add(after_last)
    if after_answer in special and after_answer is not None and after_answer == after_question:
        ends.add(after_answer)
    return frozenset(ends), after_last in ends


def _followers(learner: Learner, forms: Forms, add_special: bool) -> tuple[int | None, int | None, int | None]:
    """Return the tokens that follow a question, an answer, and the last answer, blanks apart; None: none does."""
    exchanges = [_trial(*[("user", QUESTION), ("assistant", ANSWER)] * count) for count in (2, 1)]
    for sample in exchanges:
        try:
            text = render(learner, turns_of(sample, forms, None))
        except Unusable:
            continue
        (tokens,) = tokenise(learner.tokenizer, [text], add_special=add_special)
        spans = list(_places(text, [str(message["content"][0]["text"]) for message in sample.messages]))
        after = []
        for span in spans:
            own = tokens_of(tokens, span, learner.tokenizer, add_special=add_special)
            end = end_after(own, tokens.ids, set(tokens.ids) & _added_tokens(learner), learner.tokenizer)
            after.append(None if end is None else tokens.ids[end])
        return after[-2], after[1] if len(after) > 2 else None, after[-1]
    return None, None, None


def _places(text: str, words: list[str]) -> Iterator[Span]:
    position = 0
    for word in words:
        start = text.index(word, position)
        position = start + len(word)
        yield Span(start, position)


def _takes_tools(learner: Learner, forms: Forms) -> bool:
    name = "look_up_the_trial"
    function = {"name": name, "description": "A trial.", "parameters": {"type": "object", "properties": {}}}
    try:
        text = render(learner, turns_of(_exchange(), forms, None), tools=[{"type": "function", "function": function}])
    except Unusable:
        return False
    return name in text


def _keeps_blanks(learner: Learner, forms: Forms) -> bool:
    answer = f" \n  {ANSWER}"
    try:
        return answer in render(learner, turns_of(_trial(("user", QUESTION), ("assistant", answer)), forms, None))
    except Unusable:
        return False


def _image_tokens(learner: Learner, forms: Forms, placeholder: str | None, special: frozenset[int]) -> frozenset[int]:
    """Return the ids that stand for an image: those that the processor names, and those that a blank image adds."""
    if not learner.has_vision:
        return frozenset()
    named = [*(getattr(learner.processor, "image_token_ids", None) or []), _attribute(learner, "image_token_id")]
    found = {int(token) for token in named if token is not None and int(token) >= 0}
    added = _ids_of_blank(learner, forms, placeholder)
    found |= added & special
    if not found & added:
        # The processor names what stands in the text before it grows; what it grows to need not be special.
        found |= added
    if not found:
        raise ModelError(
            f"the processor of {learner.config.path} gives an image no token of its own, so a cut at max_length could "
            "go through an image; check processor_config.json and the image token of the tokenizer"
        )
    return frozenset(found)


def _attribute(learner: Learner, name: str) -> Any:
    return getattr(learner.processor, name, None)


def _ids_of_blank(learner: Learner, forms: Forms, placeholder: str | None) -> frozenset[int]:
    """Return the ids that occur more often with a blank image than without; empty where the processor refuses it."""
    blocks = [{"type": "image", "text": None}, {"type": "text", "text": QUESTION}]
    (_, answer) = _exchange().messages
    pictured = Sample(
        id="trial/0",
        source="trial",
        messages=(Message(role="user", content=blocks), answer),  # type: ignore[typeddict-item]
    )
    try:
        with_image, without = (
            render(learner, turns_of(sample, forms, placeholder)) for sample in (pictured, _exchange())
        )
        blank = Image.new("RGB", TRIAL_SIZE)
        tensors = {"return_tensors": "pt"}
        full = learner.processor(text=[with_image], images=[[blank]], images_kwargs=tensors)["input_ids"][0]
        plain = learner.tokenizer([without])["input_ids"][0]
    except Exception:  # a processor is a program of the model's authors; without the trial its own names are left
        return frozenset()
    tokenizer = learner.tokenizer
    ordinary = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return frozenset((Counter(map(int, full)) - Counter(map(int, plain))).keys() - ordinary)
