"""Batches of conversations as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from adaptinf.data import Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat.comparison import check_labels
from adaptinf.models.chat.labelling import IGNORED, Labelled, labelled, labels_of
from adaptinf.models.chat.tokens import places_in
from adaptinf.models.chat.traits import Traits, traits_of
from adaptinf.models.chat.turns import Unusable
from adaptinf.models.loading import Learner
from adaptinf.words import one_line, shortened

Images = Sequence[Image.Image]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A batch of model inputs; B samples, S tokens, right-padded."""

    inputs: dict[str, Tensor]
    """Everything that the processor returned: input_ids, attention_mask, pixel_values, ..."""
    labels: Tensor
    """B x S; the token itself where it is part of an answer, IGNORED elsewhere."""
    cut: Tensor
    """B bools: the text was longer than max_length."""
    lost: Tensor
    """B int64: tokens of answers beyond max_length."""
    image_tokens: frozenset[int]
    """Ids of the tokens that stand for images; empty for a text-only model."""

    @property
    def is_image(self) -> Tensor:
        """B x S bools: the token stands for an image."""
        known = torch.tensor(sorted(self.image_tokens), dtype=torch.long)
        return torch.isin(self.inputs["input_ids"], known.to(self.labels.device))

    def to(self, learner: Learner) -> Encoded:
        """Return the batch on the learner's device, images in the dtype of its weights."""
        inputs = placed(self.inputs, learner)
        return replace(self, inputs=inputs, labels=self.labels.to(learner.device))


class Attempt(NamedTuple):
    """A batch of those samples that the model can use."""

    batch: Encoded | None
    """The batch; None when no sample is left."""
    kept: tuple[int, ...]
    """Numbers of its samples among those that were given, ascending."""
    refused: dict[int, str]
    """Number of each other sample -> why it cannot be used."""


def encode(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Encoded:
    """Return whole conversations as a batch with answer labels, cut on the right at `max_length`.

    A sample whose image tokens extend beyond `max_length` keeps its images and loses all its labels: it has no answer
    token left, and the caller records it as unscored.

    Raises:
        ModelError: a sample cannot be used with this model; with its id and the reason.
    """
    attempt = encode_usable(learner, samples, images)
    for number, reason in attempt.refused.items():
        raise ModelError(f"{samples[number].id} cannot be used with {learner.config.path}: {reason}")
    assert attempt.batch is not None, "no sample was given"
    return attempt.batch


def encode_usable(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Attempt:
    """Return the samples that the model can use as a batch, cut at `max_length`, and why the others cannot be used.

    Raises:
        ModelError: the chat template fits no conversation.
    """
    whole = whole_batch(learner, samples, images)
    return whole if whole.batch is None else whole._replace(batch=_cut(whole.batch, learner.config.max_length))


def num_tokens(learner: Learner, sample: Sample, images: Images) -> int:
    """Return the number of tokens of a conversation, not cut.

    Raises:
        ModelError: it cannot be used; with the reason.
    """
    whole = whole_batch(learner, [sample], [images])
    if whole.batch is None:
        raise ModelError(f"{sample.id} cannot be used with {learner.config.path}: {whole.refused[0]}")
    return int(whole.batch.inputs["attention_mask"].sum())


def placed(inputs: dict[str, Tensor], learner: Learner) -> dict[str, Tensor]:
    """Return a batch on the learner's device, floating-point inputs (images) in the dtype of its weights."""
    dtype = learner.model.dtype
    return {
        name: value.to(learner.device, dtype if value.is_floating_point() else value.dtype)
        for name, value in inputs.items()
    }


def whole_batch(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Attempt:
    """Return the usable samples as a batch that is not cut, and why the others cannot be used."""
    ready = labelled(learner, samples)
    refused = {number: str(one) for number, one in enumerate(ready) if isinstance(one, Unusable)}
    usable = {number: one for number, one in enumerate(ready) if isinstance(one, Labelled)}
    batch, failed = _processed(learner, usable, images)
    refused |= failed
    kept = tuple(number for number in usable if number not in failed)
    if batch is None:
        return Attempt(None, (), refused)
    traits = traits_of(learner)
    labels, differ = _labels(learner, traits, batch, [usable[number] for number in kept])
    if differ:
        # The rows that are left are processed again, so that a batch holds them and nothing else.
        refused |= {kept[row]: reason for row, reason in differ.items()}
        rest = [number for number in range(len(samples)) if number not in refused]
        again = whole_batch(learner, [samples[number] for number in rest], [images[number] for number in rest])
        refused |= {rest[number]: reason for number, reason in again.refused.items()}
        return Attempt(again.batch, tuple(rest[number] for number in again.kept), refused)
    nothing = torch.zeros(len(labels), dtype=torch.long)
    found = Encoded(inputs=batch, labels=labels, cut=nothing.bool(), lost=nothing, image_tokens=traits.image_tokens)
    return Attempt(found, kept, dict(sorted(refused.items())))


def _processed(
    learner: Learner, usable: dict[int, Labelled], images: Sequence[Images]
) -> tuple[dict[str, Tensor] | None, dict[int, str]]:
    """Return the model's inputs for those that the processor takes, and why it refuses the others."""
    if not usable:
        return None, {}
    try:
        return _inputs(learner, list(usable.values()), [images[number] for number in usable]), {}
    except Exception as error:  # a processor is a program of the model's authors: it can raise anything
        if len(usable) == 1:
            (number,) = usable
            return None, {number: f"the processor refuses it: {shortened(one_line(error))}"}
    numbers = list(usable)
    failed: dict[int, str] = {}
    for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
        failed |= _processed(learner, {number: usable[number] for number in half}, images)[1]
    if not failed:
        raise ModelError(
            f"the processor of {learner.config.path} refuses samples together that it takes one by one; "
            "set training.micro_batch_size: 1 and extraction.batch_tokens: 1"
        )
    rest = {number: one for number, one in usable.items() if number not in failed}
    batch, more = _processed(learner, rest, images)
    return batch, failed | more


def _inputs(learner: Learner, usable: Sequence[Labelled], images: Sequence[Images]) -> dict[str, Tensor]:
    """Return right-padded inputs."""
    if not learner.has_vision:
        rows = {"input_ids": [one.ids for one in usable]}
        return dict(learner.tokenizer.pad(rows, padding_side="right", return_tensors="pt"))
    given = [list(own) for own in images] if any(images) else None
    # Tensors for images only: some processors would try to convert the rest as well, and fail.
    options: dict[str, Any] = {"padding": True, "padding_side": "right", "images_kwargs": {"return_tensors": "pt"}}
    if not traits_of(learner).add_special:
        options["add_special_tokens"] = False
    output = learner.processor(text=[one.rendered.text for one in usable], images=given, **options)
    # Some processors return labels of their own, from which the model would compute a loss.
    return {name: torch.as_tensor(value) for name, value in output.items() if name != "labels"}


def _labels(
    learner: Learner, traits: Traits, batch: dict[str, Tensor], usable: Sequence[Labelled]
) -> tuple[Tensor, dict[int, str]]:
    """Return B x S labels, and row -> why its labels are not its answers among the processor's tokens."""
    rows, mask = batch["input_ids"], batch["attention_mask"].bool()
    labels = torch.full(rows.shape, IGNORED, dtype=torch.long)
    differ = {}
    for row, one in enumerate(usable):
        full = rows[row][mask[row]].tolist()
        try:
            own = labels_of(full, _moved(one, full, traits))
            if full != one.ids:
                check_labels(learner.tokenizer, traits, one.sample, full, own)
            labels[row, mask[row]] = torch.tensor(own, dtype=torch.long)
        except Unusable as error:
            differ[row] = str(error)
    return labels, differ


def _moved(one: Labelled, full: Sequence[int], traits: Traits) -> list[range]:
    """Return the tokens of the answers among those that the processor made."""
    places = places_in(one.ids, full, traits.image_tokens)
    moved = []
    for own in one.answers:
        there = places[own.start : own.stop]
        if there != list(range(there[0], there[0] + len(there))) or there[0] < 0:
            raise Unusable("the processor changes the tokens of an answer, so it cannot be found among them")
        moved.append(range(there[0], there[0] + len(there)))
    return moved


def _cut(whole: Encoded, limit: int) -> Encoded:
    """Cut every B x S input at the limit; a row with images beyond it keeps no label."""
    shape, labels = whole.labels.shape, whole.labels.clone()
    cut = whole.inputs["attention_mask"].sum(1) > limit
    if not bool(cut.any()):
        return whole
    loses_images = whole.is_image[:, limit:].any(1)
    labels[loses_images] = IGNORED
    labels[:, limit:] = IGNORED
    lost = (whole.labels != IGNORED).sum(1) - (labels != IGNORED).sum(1)
    if bool(loses_images.any()):
        # The number of placeholders must match the images, so these tokens stay; without labels they have no effect.
        return replace(whole, labels=labels, cut=cut, lost=lost)
    inputs = {name: value[:, :limit] if value.shape[:2] == shape else value for name, value in whole.inputs.items()}
    return replace(whole, inputs=inputs, labels=labels[:, :limit], cut=cut, lost=lost)
