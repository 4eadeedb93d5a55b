"""The check of what is learnt: labels are decoded and compared with the conversation as it was written.

It knows token ids, labels and the written words only, not how the answers were found. Read from left to right, the
tokens without a label must contain the questions, and each stretch with labels must be the next answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from adaptinf.data import Sample
from adaptinf.models.chat.traits import Traits
from adaptinf.models.chat.turns import Unusable, learnt_turns, text_of_message
from adaptinf.words import shortened

BLANKS = re.compile(r"\s+")


def check_labels(tokenizer: Any, traits: Traits, sample: Sample, ids: Sequence[int], labels: Sequence[int]) -> None:
    """Check that the labels of a whole conversation are exactly its answers.

    Blanks around a text are left out of the comparison, as templates trim them; so are end tokens after an answer.
    Where texts differ, the written one is compared again after it was encoded and decoded alone: a tokenizer may
    normalise it.

    Args:
        tokenizer: of the model (Any: transformers' tokenizers share no typed base class).
        traits: which tokens end answers, and which stand for images.
        sample: the conversation as it was written.
        ids: N tokens.
        labels: N labels; a negative one marks a token that is not learnt.

    Raises:
        Unusable: they are not; with what would be learnt and what was written.
    """
    learnt = learnt_turns(sample)
    stretches = list(_stretches(ids, labels))
    answers = [own for is_answer, own in stretches if is_answer]
    if len(answers) != len(learnt):
        raise Unusable(
            f"{len(learnt)} answers were written, but {len(answers)} stretches of tokens would be learnt: "
            + shortened(repr([tokenizer.decode(own) for own in answers]))
        )
    position, waiting = 0, list(range(len(sample.messages)))
    between = ""
    for is_answer, own in stretches:
        if not is_answer:
            between = squeezed(tokenizer.decode([token for token in own if token not in traits.image_tokens]))
            continue
        number = learnt[position]
        _check_unlearnt(tokenizer, traits, sample, [turn for turn in waiting if turn < number], between)
        _check_answer(tokenizer, traits, sample, number, own)
        waiting = [turn for turn in waiting if turn > number]
        position, between = position + 1, ""
    _check_unlearnt(tokenizer, traits, sample, waiting, between)


def _stretches(ids: Sequence[int], labels: Sequence[int]) -> Iterator[tuple[bool, list[int]]]:
    """Yield neighbouring tokens that are all learnt or all not, in order."""
    for is_answer, group in groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] >= 0):
        yield is_answer, [token for token, _ in group]


def _check_answer(tokenizer: Any, traits: Traits, sample: Sample, number: int, own: list[int]) -> None:
    if any(label in traits.image_tokens for label in own):
        raise Unusable(f"tokens of an image would be learnt as the answer of turn {number + 1}")
    core = list(own)
    while core and (core[-1] in traits.ends or not tokenizer.decode([core[-1]]).strip()):
        core.pop()
    control = next((token for token in core if token in traits.controls), None)
    if control is not None and control != tokenizer.unk_token_id:
        raise Unusable(f"the special token {tokenizer.decode([control])!r} would be learnt within turn {number + 1}")
    would, written = tokenizer.decode(core), text_of_message(sample.messages[number])
    if squeezed(would) != squeezed(written) and squeezed(would) not in _forms(tokenizer, traits, written):
        raise Unusable(
            f"what would be learnt of turn {number + 1} differs from what was written: "
            f"{shortened(repr(would))} instead of {shortened(repr(written))}"
        )
    if _loses_blanks(tokenizer, would.strip(), written.strip()):
        raise Unusable(
            f"the chat template changes blanks or line breaks within the answer of turn {number + 1}: "
            f"{shortened(repr(would))}"
        )


def _loses_blanks(tokenizer: Any, would: str, written: str) -> bool:
    """Return whether a template changes the blanks within an answer, as one that joins or indents lines does.

    Code and tables are made of them. A tokenizer that loses some itself leaves nothing to compare.
    """
    blanks = BLANKS.findall(written)
    if would == written or BLANKS.findall(would) == blanks:
        return False
    return BLANKS.findall(tokenizer.decode(_ids_alone(tokenizer, written)).strip()) == blanks


def _check_unlearnt(tokenizer: Any, traits: Traits, sample: Sample, turns: Sequence[int], between: str) -> None:
    """Check that the texts of turns that are not learnt stand, in their order, in what is not learnt."""
    position = 0
    for number in turns:
        for block in sample.messages[number]["content"]:
            if block["type"] == "image" or not (block["text"] or "").strip():
                continue
            found = _find(tokenizer, traits, str(block["text"]), between, position)
            if found is None:
                raise Unusable(
                    f"the text of turn {number + 1} ({sample.messages[number]['role']}) is not what the model would "
                    f"see at its place: {shortened(repr(block['text']))}"
                )
            position = found


def _find(tokenizer: Any, traits: Traits, text: str, between: str, position: int) -> int | None:
    """Return where a text ends in what stands between two answers; None if it is not there."""
    plain = squeezed(text)
    start = between.find(plain, position)
    if start >= 0:
        return start + len(plain)
    for form in _forms(tokenizer, traits, text):
        start = between.find(form, position)
        if start >= 0:
            return start + len(form)
    return None


def _forms(tokenizer: Any, traits: Traits, text: str) -> set[str]:
    """Return a text without blanks, as written and as the tokenizer gives it back.

    A tokenizer that changes letters before it looks for special tokens can read one where none was written; what it
    gives back then is not the text.
    """
    plain, ids = squeezed(text), _ids_alone(tokenizer, text)
    if traits.controls.intersection(ids) - {tokenizer.unk_token_id}:
        return {plain}
    return {plain, squeezed(tokenizer.decode(ids))}


def _ids_alone(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer([text], add_special_tokens=False)["input_ids"][0])


def squeezed(text: str) -> str:
    """Return a text without its blanks."""
    return "".join(text.split())
