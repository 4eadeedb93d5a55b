"""Conversations through a model's processor, and the labels of the tokens that it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaptinf.data import Sample
from adaptinf.errors import DataError, ModelError
from adaptinf.models.chat.batch import Attempt, Encoded, Images
from adaptinf.models.chat.comparison import check_labels
from adaptinf.models.chat.labelling import IGNORED, Labelled, labelled, labels_of
from adaptinf.models.chat.tokens import places_in
from adaptinf.models.chat.traits import Traits, traits_of
from adaptinf.models.chat.turns import Unusable
from adaptinf.models.loading import Learner
from adaptinf.words import one_line, shortened


def processed(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Attempt:
    """Return the usable samples as a batch that is not cut, and why the others cannot be used.

    The processor gets them together, so all of their images are in memory at once.
    """
    opened, unreadable = _opened(images)
    ready = dict(zip(opened, labelled(learner, [samples[number] for number in opened]), strict=True))
    refused = {number: str(one) for number, one in ready.items() if isinstance(one, Unusable)}
    usable = {number: one for number, one in ready.items() if isinstance(one, Labelled)}
    batch, failed = _processed(learner, usable, opened)
    refused |= failed
    kept = tuple(number for number in usable if number not in failed)
    if batch is None:
        return Attempt(None, (), refused, unreadable)
    traits = traits_of(learner)
    labels, differ = _labels(learner, traits, batch, [usable[number] for number in kept])
    if differ:
        # The rows that are left are processed again, so that a batch holds them and nothing else.
        refused |= {kept[row]: reason for row, reason in differ.items()}
        rest = [number for number in opened if number not in refused]
        again = processed(learner, [samples[number] for number in rest], [opened[number] for number in rest])
        refused |= {rest[number]: reason for number, reason in again.refused.items()}
        return Attempt(again.batch, tuple(rest[number] for number in again.kept), refused, unreadable)
    nothing = torch.zeros(len(labels), dtype=torch.long)
    found = Encoded(inputs=batch, labels=labels, cut=nothing.bool(), lost=nothing, image_tokens=traits.image_tokens)
    return Attempt(found, kept, dict(sorted(refused.items())), unreadable)


def _processed(
    learner: Learner, usable: dict[int, Labelled], images: dict[int, Images]
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
    if full == one.ids:
        return list(one.answers)
    places = places_in(one.ids, full, traits.image_tokens)
    moved = []
    for own in one.answers:
        there = places[own.start : own.stop]
        if there != list(range(there[0], there[0] + len(there))) or there[0] < 0:
            raise Unusable("the processor changes the tokens of an answer, so it cannot be found among them")
        moved.append(range(there[0], there[0] + len(there)))
    return moved


def _opened(images: Sequence[Images]) -> tuple[dict[int, Images], dict[int, DataError]]:
    """Return the images of each sample, decoded, and why others cannot be."""
    opened: dict[int, Images] = {}
    unreadable = {}
    for number, own in enumerate(images):
        try:
            opened[number] = list(own)
        except DataError as error:
            unreadable[number] = error
    return opened, unreadable
