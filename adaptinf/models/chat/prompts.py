"""Questions to a model, in the tokens that training has before the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from adaptinf.data import Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat.batch import Images
from adaptinf.models.chat.labelling import IGNORED, Labelled, labelled
from adaptinf.models.chat.pieces import whole_batch
from adaptinf.models.chat.rendering import rendered
from adaptinf.models.chat.traits import traits_of
from adaptinf.models.chat.turns import Unusable
from adaptinf.models.loading import Learner


class Prompts(NamedTuple):
    """Questions of those test items that the model can be asked."""

    inputs: dict[str, Tensor] | None
    """A left-padded batch; None when no item is left."""
    kept: tuple[int, ...]
    """As in `Attempt`."""
    refused: dict[int, str]
    """As in `Attempt`."""


def prompts_of_usable(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Prompts:
    """Return the conversations up to the last answer, ready to generate it, and why others cannot be asked.

    The tokens are those before the last answer in training, so that a model is asked as it was taught: with what its
    template writes between the prompt and an answer, as an empty thought.

    Args:
        learner: the model.
        samples: conversations that end with an answer.
        images: the images of each.

    Raises:
        DataError: an image cannot be opened.
    """
    asked = [_asked(sample) for sample in samples]
    whole = whole_batch(learner, asked, images, None)
    for error in whole.unreadable.values():
        raise error
    if whole.batch is None:
        return Prompts(None, (), whole.refused)
    first = (whole.batch.labels != IGNORED).int().argmax(1)
    return Prompts(_left_padded(whole.batch.inputs, first, learner.tokenizer.pad_token_id), whole.kept, whole.refused)


def _asked(sample: Sample) -> Sample:
    """Return a conversation of which the last answer alone is learnt."""
    return replace(sample, unlearnt=tuple(range(len(sample.messages) - 1)))


def last_prompts(learner: Learner, samples: Sequence[Sample]) -> list[Labelled | Unusable]:
    """Return each conversation as the tokens of its text, images as single tags, of which the last answer is labelled.

    What stands before the label is the prompt. Of those that cannot be asked the reason is returned.
    """
    return labelled(learner, [_asked(sample) for sample in samples])


def prompt_text(learner: Learner, sample: Sample) -> str:
    """Return the text of the prompt for the last answer; each image is the one tag that the template writes.

    Args:
        learner: the model.
        sample: a conversation that it can be asked.
    """
    one = rendered(learner, traits_of(learner), _asked(sample))
    return one.text[: one.answers[-1].start]


def encode_prompts(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> dict[str, Tensor]:
    """Return the conversations up to the last answer as a left-padded batch, ready to generate that answer.

    Raises:
        ModelError: a sample cannot be asked; with its id and the reason.
    """
    prompts = prompts_of_usable(learner, samples, images)
    for number, reason in prompts.refused.items():
        raise ModelError(f"{samples[number].id} cannot be used with {learner.config.path}: {reason}")
    assert prompts.inputs is not None, "no sample was given"
    return prompts.inputs


def _left_padded(inputs: dict[str, Tensor], lengths: Tensor, pad: int) -> dict[str, Tensor]:
    """Return the first tokens of each row, as many as `lengths` says, at the right end of a batch."""
    shape, longest = inputs["input_ids"].shape, int(lengths.max())
    padded = {}
    for name, value in inputs.items():
        if value.shape[:2] != shape:
            padded[name] = value
            continue
        moved = value.new_full((len(value), longest, *value.shape[2:]), pad if name == "input_ids" else 0)
        for row, length in enumerate(lengths.tolist()):
            moved[row, longest - length :] = value[row, :length]
        padded[name] = moved
    return padded
