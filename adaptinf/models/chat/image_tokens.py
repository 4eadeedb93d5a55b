"""Which tokens stand for an image, found by encoding one."""

from __future__ import annotations

from collections import Counter

from adaptinf.errors import ModelError
from adaptinf.models.chat.template import render
from adaptinf.models.chat.turns import Forms, turns_of
from adaptinf.models.loading import Learner
from adaptinf.models.samples import trial_images, trial_sample


def image_tokens_of(learner: Learner, forms: Forms, placeholder: str | None, special: frozenset[int]) -> frozenset[int]:
    """Return the ids that stand for an image: those that the processor names, and those that a trial image adds."""
    if not learner.has_vision:
        return frozenset()
    named = [
        *(getattr(learner.processor, "image_token_ids", None) or []),
        getattr(learner.processor, "image_token_id", None),
    ]
    found = {int(token) for token in named if token is not None and int(token) >= 0}
    added = _ids_of_image(learner, forms, placeholder)
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


def _ids_of_image(learner: Learner, forms: Forms, placeholder: str | None) -> frozenset[int]:
    """Return the ids that occur more often with an image than without; empty where the processor refuses it."""
    try:
        with_image, without = (
            render(learner, turns_of(trial_sample(1, number), forms, placeholder)) for number in (1, 0)
        )
        tensors = {"return_tensors": "pt"}
        full = learner.processor(text=[with_image], images=[trial_images(1)], images_kwargs=tensors)["input_ids"][0]
        plain = learner.tokenizer([without])["input_ids"][0]
    except Exception:  # a processor is a program of the model's authors; without the trial its own names are left
        return frozenset()
    tokenizer = learner.tokenizer
    ordinary = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return frozenset((Counter(map(int, full)) - Counter(map(int, plain))).keys() - ordinary)
