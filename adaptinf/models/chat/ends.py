"""Which tokens end an answer, found by what follows questions and answers in a small conversation."""

from __future__ import annotations

from collections.abc import Iterator

from adaptinf.models.chat.exchange import ANSWER, QUESTION, trial
from adaptinf.models.chat.template import Span, render
from adaptinf.models.chat.tokens import end_after, tokenise, tokens_of
from adaptinf.models.chat.turns import Forms, Unusable, turns_of
from adaptinf.models.greedy import own_settings
from adaptinf.models.loading import Learner


def special_tokens(learner: Learner) -> frozenset[int]:
    """Return the ids that are special tokens by use (bos, eos, ...) or by the flag of an added token.

    Some tokenizers flag their tokens for single bytes as well; those decode to the byte, not to their own name.
    """
    tokenizer = learner.tokenizer
    flagged = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = {number for number, content in flagged.items() if tokenizer.decode([number]).strip() == content.strip()}
    return frozenset(tokenizer.all_special_ids) | named


def added_tokens(learner: Learner) -> frozenset[int]:
    """Return the ids of the tokens that were added to the vocabulary, special or not."""
    tokenizer = learner.tokenizer
    return frozenset(tokenizer.all_special_ids) | frozenset(tokenizer.added_tokens_decoder)


def named_stops(learner: Learner) -> frozenset[int]:
    """Return the ids of the end tokens that the model and its tokenizer name."""
    named = getattr(own_settings(learner.model), "eos_token_id", None)
    several = named if isinstance(named, list | tuple) else [named]
    return frozenset(int(token) for token in [*several, learner.tokenizer.eos_token_id] if token is not None)


def ends_of(learner: Learner, forms: Forms, add_special: bool, special: frozenset[int]) -> tuple[frozenset[int], bool]:
    """Return the ids that end an answer, and whether the template writes one after the last answer.

    They are the named end tokens; the special token after the last answer; and that after an earlier answer if
    questions end with it too, since another one would open the next turn.
    """
    named = named_stops(learner)
    after_question, after_answer, after_last = _followers(learner, forms, add_special)
    ends = set(named)
    if after_last in special and after_last is not None:
        ends.add(after_last)
    if after_answer in special and after_answer is not None and after_answer == after_question:
        ends.add(after_answer)
    return frozenset(ends), after_last in ends


def _followers(learner: Learner, forms: Forms, add_special: bool) -> tuple[int | None, int | None, int | None]:
    """Return the tokens that follow a question, an answer, and the last answer, blanks apart; None: none does."""
    exchanges = [trial(*[("user", QUESTION), ("assistant", ANSWER)] * count) for count in (2, 1)]
    for sample in exchanges:
        try:
            text = render(learner, turns_of(sample, forms, None))
        except Unusable:
            continue
        (tokens,) = tokenise(learner.tokenizer, [text], add_special=add_special)
        spans = list(_places(text, [str(message["content"][0]["text"]) for message in sample.messages]))
        if len(spans) < len(sample.messages):
            continue  # the template leaves earlier turns out
        after = []
        for span in spans:
            own = tokens_of(tokens, span, learner.tokenizer, add_special=add_special)
            end = end_after(own, tokens.ids, set(tokens.ids) & added_tokens(learner), learner.tokenizer)
            after.append(None if end is None else tokens.ids[end])
        return after[-2], after[1] if len(after) > 2 else None, after[-1]
    return None, None, None


def _places(text: str, words: list[str]) -> Iterator[Span]:
    """Yield where words stand in a text, in their order, as far as they do."""
    position = 0
    for word in words:
        start = text.find(word, position)
        if start < 0:
            return
        position = start + len(word)
        yield Span(start, position)
