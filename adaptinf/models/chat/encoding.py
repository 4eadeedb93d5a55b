"""Conversations as batches with answer labels, cut at `max_length`."""

from __future__ import annotations

from collections.abc import Sequence

from adaptinf.data import Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat.batch import Attempt, Encoded, Images
from adaptinf.models.chat.pieces import whole_batch
from adaptinf.models.loading import Learner


def encode(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Encoded:
    """Return whole conversations as a batch with answer labels, cut on the right at `max_length`.

    A sample whose image tokens extend beyond `max_length` keeps its images and loses all its labels: it has no answer
    token left, and the caller records it as unscored.

    Raises:
        ModelError: a sample cannot be used with this model; with its id and the reason.
        DataError: an image cannot be opened.
    """
    attempt = encode_usable(learner, samples, images)
    for error in attempt.unreadable.values():
        raise error
    for number, reason in attempt.refused.items():
        raise ModelError(f"{samples[number].id} cannot be used with {learner.config.path}: {reason}")
    assert attempt.batch is not None, "no sample was given"
    return attempt.batch


def encode_usable(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Attempt:
    """Return the samples that the model can use as a batch, cut at `max_length`, and why the others cannot be used.

    Raises:
        ModelError: the chat template fits no conversation.
    """
    return whole_batch(learner, samples, images, learner.config.max_length)


def num_tokens(learner: Learner, sample: Sample, images: Images) -> int:
    """Return the number of tokens of a conversation, not cut.

    Raises:
        ModelError: it cannot be used; with the reason.
    """
    whole = whole_batch(learner, [sample], [images], None)
    if whole.batch is None:
        raise ModelError(f"{sample.id} cannot be used with {learner.config.path}: {whole.refused[0]}")
    return int(whole.batch.inputs["attention_mask"].sum())
