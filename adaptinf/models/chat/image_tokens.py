"""Which tokens stand for an image, found by encoding a blank one."""

from __future__ import annotations

from collections import Counter

from PIL import Image

from adaptinf.data import Message, Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat.exchange import QUESTION, exchange
from adaptinf.models.chat.template import render
from adaptinf.models.chat.turns import Forms, turns_of
from adaptinf.models.loading import Learner

TRIAL_SIZE = (336, 336)
"""Width and height of the image of the trials."""


def image_tokens_of(learner: Learner, forms: Forms, placeholder: str | None, special: frozenset[int]) -> frozenset[int]:
    """Return the ids that stand for an image: those that the processor names, and those that a blank image adds."""
    if not learner.has_vision:
        return frozenset()
    named = [
        *(getattr(learner.processor, "image_token_ids", None) or []),
        getattr(learner.processor, "image_token_id", None),
    ]
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


def _ids_of_blank(learner: Learner, forms: Forms, placeholder: str | None) -> frozenset[int]:
    """Return the ids that occur more often with a blank image than without; empty where the processor refuses it."""
    blocks = [{"type": "image", "text": None}, {"type": "text", "text": QUESTION}]
    (_, answer) = exchange().messages
    pictured = Sample(
        id="trial/0",
        source="trial",
        messages=(Message(role="user", content=blocks), answer),  # type: ignore[typeddict-item]
    )
    try:
        with_image, without = (
            render(learner, turns_of(sample, forms, placeholder)) for sample in (pictured, exchange())
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
