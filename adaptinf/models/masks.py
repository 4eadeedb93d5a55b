"""The mask of a padded batch, which a causal model does not need: attention without one costs half."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from torch import Tensor

from adaptinf.errors import ModelError
from adaptinf.models.chat import Encoded, encode
from adaptinf.models.loading import Learner
from adaptinf.models.passes import is_same, last_hidden, uncut
from adaptinf.models.samples import trial_images, trial_sample


def needs_mask(learner: Learner) -> bool:
    """Return whether a model's hidden states change when the mask of a padded batch is left out, as found in a trial.

    In a causal model they do not, and attention without a mask costs half. Text and images are tried, since some models
    place the tokens of an image by the mask. Where a trial is not possible, the mask is kept.
    """
    try:
        found = [_is_same_without_mask(learner, batch) for batch in list(trial_batches(uncut(learner)))]
        return not (found and all(found))
    except ModelError:
        raise
    except Exception:  # code of any architecture, without a mask that it may ask for
        return True


def trial_batches(learner: Learner) -> Iterator[Encoded]:
    """Yield padded batches of two: of text, and of conversations about an image if the model takes them.

    What the processor refuses, as text without an image, is left out.
    """
    for num_images in (0, 1) if learner.has_vision else (0,):
        samples = [trial_sample(num_words, num_images) for num_words in (2, 9)]
        with suppress(ModelError):
            yield encode(learner, samples, [trial_images(num_images)] * len(samples)).to(learner)


def _is_same_without_mask(learner: Learner, batch: Encoded) -> bool:
    is_token = batch.inputs["attention_mask"].bool()
    masked, bare = (last_hidden(learner, inputs) for inputs in (batch.inputs, without_mask(batch.inputs)))
    pairs = zip(masked, bare, is_token, strict=True)
    return all(is_same(one[own], other[own]) for one, other, own in pairs)


def without_mask(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a right-padded batch's inputs without its mask.

    Families whose tokens have types may let the first part of a sequence attend to all of it, padding included; they
    keep their mask.
    """
    has_types = any(name.endswith("token_type_ids") for name in inputs)
    return inputs if has_types else {name: value for name, value in inputs.items() if name != "attention_mask"}
