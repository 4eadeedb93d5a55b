"""Batches whose images, or padded texts, are too large to be processed together: piece by piece, with the same result.

Whether the pieces of a batch are joined to what the processor makes of all of it is found by a trial. Where they are
not, the batch is processed as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import pad

from adaptinf.data import Sample
from adaptinf.images import MAX_PIXELS, Unopened
from adaptinf.models.chat.batch import Attempt, Encoded, Images
from adaptinf.models.chat.labelling import IGNORED
from adaptinf.models.chat.processing import processed
from adaptinf.models.chat.turns import text_of
from adaptinf.models.loading import Learner
from adaptinf.models.samples import IMAGE_SIZE, trial_images, trial_sample

PIXELS_AT_ONCE = MAX_PIXELS
"""Pixels of images that are decoded at the same time; a processor takes about 10 bytes for each."""
CHARACTERS_AT_ONCE = 4_000_000
"""Characters of texts that are tokenised and padded together: the number of texts times the longest of them."""

_joins: WeakKeyDictionary[object, dict[frozenset[int], bool]] = WeakKeyDictionary()
"""Processor -> numbers of images per sample -> whether pieces of such samples are joined to the whole."""


def whole_batch(learner: Learner, samples: Sequence[Sample], images: Sequence[Images], limit: int | None) -> Attempt:
    """Return the usable samples as a batch, and why the others cannot be used.

    Args:
        learner: the model.
        samples: conversations.
        images: the images of each.
        limit: tokens that each is cut at, as `cut` does; None: none is cut.
    """
    pieces = list(_pieces(samples, images))
    if len(pieces) > 1 and _are_joined(learner, samples):
        attempts = [
            _cut_attempt(processed(learner, [samples[n] for n in piece], [images[n] for n in piece]), limit)
            for piece in pieces
        ]
        batches = [attempt.batch for attempt in attempts if attempt.batch is not None]
        batch = joined(batches, learner.tokenizer.pad_token_id) if batches else None
        if batch is not None or not batches:
            return _renumbered(batch, pieces, attempts)
    return _cut_attempt(processed(learner, samples, images), limit)


def _pieces(samples: Sequence[Sample], images: Sequence[Images]) -> Iterator[list[int]]:
    """Yield the numbers of neighbouring samples that may be processed together; at least one."""
    piece: list[int] = []
    pixels = longest = 0
    for number, (sample, own) in enumerate(zip(samples, images, strict=True)):
        own_pixels, length = num_pixels(own), len(text_of(sample))
        padded = max(longest, length) * (len(piece) + 1)
        if piece and (pixels + own_pixels > PIXELS_AT_ONCE or padded > CHARACTERS_AT_ONCE):
            yield piece
            piece, pixels, longest = [], 0, 0
        piece.append(number)
        pixels, longest = pixels + own_pixels, max(longest, length)
    if piece:
        yield piece


def num_pixels(images: Images) -> int:
    """Return the pixels of the images of a sample, as far as they can be told before they are decoded."""
    if isinstance(images, Unopened):
        return images.num_pixels
    return sum(image.width * image.height for image in images)


def _renumbered(batch: Encoded | None, pieces: Sequence[Sequence[int]], attempts: Sequence[Attempt]) -> Attempt:
    """Return what became of each piece as one attempt, in the numbers of all samples."""
    both = list(zip(pieces, attempts, strict=True))
    return Attempt(
        batch,
        tuple(piece[number] for piece, one in both for number in one.kept),
        {piece[number]: reason for piece, one in both for number, reason in one.refused.items()},
        {piece[number]: error for piece, one in both for number, error in one.unreadable.items()},
    )


def joined(batches: Sequence[Encoded], pad_token: int) -> Encoded | None:
    """Return batches as one, right-padded to the longest; None where their inputs do not fit together."""
    width = max(batch.labels.shape[1] for batch in batches)
    num_rows = sum(len(batch.labels) for batch in batches)
    inputs: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for batch in batches for name in batch.inputs):
        values = [
            _widened(batch, batch.inputs[name], width, pad_token if name == "input_ids" else 0)
            for batch in batches
            if name in batch.inputs
        ]
        if len({(value.shape[1:], value.dtype) for value in values}) > 1:
            return None
        inputs[name] = torch.cat(values)
        # Of images a piece may have none, of tokens every piece has some.
        if inputs[name].shape[1:] == (width,) and len(inputs[name]) != num_rows:
            return None
    return Encoded(
        inputs=inputs,
        labels=torch.cat([_widened(batch, batch.labels, width, IGNORED) for batch in batches]),
        cut=torch.cat([batch.cut for batch in batches]),
        lost=torch.cat([batch.lost for batch in batches]),
        image_tokens=batches[0].image_tokens,
    )


def _widened(batch: Encoded, value: Tensor, width: int, filler: int) -> Tensor:
    """Return a value of one number per token, filled up to a width; any other as it is."""
    if value.shape != batch.labels.shape:
        return value
    return pad(value, (0, width - value.shape[1]), value=filler)


def _are_joined(learner: Learner, samples: Sequence[Sample]) -> bool:
    """Return whether pieces of samples with such numbers of images give what the processor gives for all at once."""
    if not learner.has_vision:
        return True
    counts = frozenset(len(sample.images) for sample in samples)
    known = _joins.setdefault(learner.processor, {})
    if counts not in known:
        known[counts] = _tried(learner, sorted(counts))
    return known[counts]


def _tried(learner: Learner, counts: Sequence[int]) -> bool:
    """Compare short conversations, two with each number of images, processed at once and one by one."""
    plans = [(words, number) for number in counts for words in (2, 9)]
    samples = [trial_sample(words, number) for words, number in plans]
    small = IMAGE_SIZE[0] // 2, IMAGE_SIZE[1]
    images = [trial_images(number, size=IMAGE_SIZE if words == 2 else small) for words, number in plans]
    try:
        whole = processed(learner, samples, images).batch
        pieces = [processed(learner, [sample], [own]).batch for sample, own in zip(samples, images, strict=True)]
    except Exception:  # code of any architecture; that it fails is what is tried here
        return False
    found = [piece for piece in pieces if piece is not None]
    if whole is None or not found:
        return False
    together = joined(found, learner.tokenizer.pad_token_id)
    return (
        together is not None
        and together.inputs.keys() == whole.inputs.keys()
        and all(torch.equal(value, together.inputs[name]) for name, value in whole.inputs.items())
        and torch.equal(whole.labels, together.labels)
    )


def _cut_attempt(attempt: Attempt, limit: int | None) -> Attempt:
    return attempt if attempt.batch is None or limit is None else attempt._replace(batch=_cut(attempt.batch, limit))


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
