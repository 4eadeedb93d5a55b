"""A conversation as tokens of which the answers are labelled, before its images are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adaptinf.data import Sample
from adaptinf.models.chat.comparison import check_labels
from adaptinf.models.chat.rendering import Rendered, rendered
from adaptinf.models.chat.tokens import Tokenised, tokenise, tokens_of, with_end
from adaptinf.models.chat.traits import Traits, traits_of
from adaptinf.models.chat.turns import Unusable
from adaptinf.models.loading import Learner
from adaptinf.models.memory import release_freed
from adaptinf.words import one_line, shortened

LONG_TEXT = 1_000_000
"""Characters of which a tokenizer takes more memory than should stay with the thread that called it."""
IGNORED = -100
"""Label of a token outside the answers (the convention of torch's cross-entropy and of transformers)."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A conversation as tokens; every image is still the one tag that the template writes."""

    rendered: Rendered
    """Its text."""
    ids: list[int]
    """N token ids."""
    answers: tuple[range, ...]
    """Numbers of the tokens of each answer that carries a loss, with its end token."""

    @property
    def sample(self) -> Sample:
        """The conversation, as it was rendered."""
        return self.rendered.sample


def labelled(learner: Learner, samples: Sequence[Sample]) -> list[Labelled | Unusable]:
    """Return each sample as tokens with labels, or why it cannot be used.

    The labels of each have been compared with the answers as written.
    """
    traits = traits_of(learner)
    found: dict[int, Labelled | Unusable] = {}
    texts: dict[int, Rendered] = {}
    for number, sample in enumerate(samples):
        try:
            _refuse_images(learner, sample)
            refuse_control_texts(sample, traits)
            texts[number] = rendered(learner, traits, sample)
        except Unusable as error:
            found[number] = error
    all_tokens = _all_tokens(learner, traits, list(texts.values()))
    for number in reversed(texts):
        tokens = all_tokens.pop()
        found[number] = _labelled(learner, traits, texts[number], tokens) if isinstance(tokens, Tokenised) else tokens
        del tokens
    if sum(len(one.text) for one in texts.values()) > LONG_TEXT:
        release_freed()
    return [found[number] for number in range(len(samples))]


def _all_tokens(learner: Learner, traits: Traits, texts: Sequence[Rendered]) -> list[Tokenised | Unusable]:
    """Tokenise texts together, or one by one where the tokenizer refuses one of them."""
    if not texts:
        return []
    try:
        return list(tokenise(learner.tokenizer, [one.text for one in texts], add_special=traits.add_special))
    except Exception as error:  # a tokenizer is a program of the model's authors: it can raise anything
        if len(texts) == 1:
            return [Unusable(f"the tokenizer refuses the conversation: {shortened(one_line(error))}")]
    return [tokens for one in texts for tokens in _all_tokens(learner, traits, [one])]


def _labelled(learner: Learner, traits: Traits, one: Rendered, tokens: Tokenised) -> Labelled | Unusable:
    tokenizer, own = learner.tokenizer, []
    for span in one.answers:
        found = tokens_of(tokens, span, tokenizer, add_special=traits.add_special)
        own.append(with_end(found, tokens.ids, traits.ends, tokenizer))
    try:
        check_labels(tokenizer, traits, one.sample, tokens.ids, labels_of(tokens.ids, own))
    except Unusable as error:
        return error
    return Labelled(rendered=one, ids=tokens.ids, answers=tuple(own))


def labels_of(ids: Sequence[int], answers: Iterable[range]) -> list[int]:
    """Return N labels: the token itself in the answers, IGNORED elsewhere."""
    labels = [IGNORED] * len(ids)
    for own in answers:
        labels[own.start : own.stop] = ids[own.start : own.stop]
    return labels


def _refuse_images(learner: Learner, sample: Sample) -> None:
    if not learner.has_vision and any(b["type"] == "image" for turn in sample.messages for b in turn["content"]):
        raise Unusable("the model reads text only, but the sample has images; use a vision-language model")


def refuse_control_texts(sample: Sample, traits: Traits) -> None:
    """Refuse a sample whose text would be read as a special token: it could end an answer or forge a turn.

    Raises:
        Unusable: with the turn and the token.
    """
    for number, message in enumerate(sample.messages, 1):
        for block in message["content"]:
            text = block["text"] or ""
            for control in traits.control_texts:
                if control in text:
                    raise Unusable(
                        f"turn {number} contains {control!r}, which is a special token of the model: write it otherwise"
                    )
