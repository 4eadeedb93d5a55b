"""Batches prepared ahead of the model: images decoded by several threads, conversations encoded by one.

One thread encodes, because tokenizers are not thread-safe.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple, Self

import torch

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.images import Unopened
from adaptinf.models.chat import Encoded, Images, encode_usable, without_images
from adaptinf.models.chat.pieces import PIXELS_AT_ONCE
from adaptinf.models.loading import Learner

logger = logging.getLogger(__name__)

LOOK_AHEAD = 2
"""Batches that are being prepared while one is measured, unless their images are too large."""
MAX_DECODERS = 8
"""Threads that decode images, at most; never more than there are cores."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch as the model takes it."""

    rows: tuple[int, ...]
    """Row number of each sample of the batch, without those that have an unreadable image or cannot be used."""
    ids: tuple[str, ...]
    """Their ids."""
    batch: Encoded | None
    """The conversations; None when no sample is left."""
    with_images: tuple[int, ...]
    """Which samples of the batch have images, 0-based."""
    without_images: Encoded | None
    """Those samples again, images removed or blank; None if there are none, or image grounding is not measured."""
    unreadable: tuple[str, ...] = ()
    """Ids of samples with an image that can no longer be opened."""
    refused: tuple[tuple[str, str], ...] = ()
    """Id of each sample that template, tokenizer or processor refuse, and why."""


REMOVED = ("removed", "auto")
"""Values of `extraction.image` that compare with the conversation without its images, as in the paper."""


def prepare(
    learner: Learner, rows: Sequence[int], samples: Sequence[Sample], images: Sequence[Images], *, image: str
) -> Prepared:
    """Return a batch of samples whose images are open.

    `image` says what the text is compared with for image grounding, as `extraction.image`.
    """
    attempt = encode_usable(learner, samples, images)
    for number, error in attempt.unreadable.items():
        logger.warning("%s is unscored: %s", samples[number].id, error)
    kept = [samples[number] for number in attempt.kept]
    with_images, compared = _compared(learner, kept, [images[number] for number in attempt.kept], image)
    return Prepared(
        rows=tuple(rows[number] for number in attempt.kept),
        ids=tuple(sample.id for sample in kept),
        batch=attempt.batch,
        with_images=with_images,
        without_images=compared,
        unreadable=tuple(samples[number].id for number in attempt.unreadable),
        refused=tuple((samples[number].id, reason) for number, reason in attempt.refused.items()),
    )


def _compared(
    learner: Learner, samples: Sequence[Sample], images: Sequence[Images], image: str
) -> tuple[tuple[int, ...], Encoded | None]:
    """Return which samples have images, and those samples again, images removed or blank.

    A sample that the model cannot be given without its images is left out; its image grounding is unmeasured.
    """
    with_images = tuple(number for number, sample in enumerate(samples) if sample.images)
    if not with_images or image not in (*REMOVED, "blank"):
        return with_images, None
    if image in REMOVED:
        texts = [without_images(samples[number]) for number in with_images]
        attempt = encode_usable(learner, texts, [()] * len(texts))
        return tuple(with_images[number] for number in attempt.kept), attempt.batch
    pictured = [samples[number] for number in with_images]
    attempt = encode_usable(learner, pictured, [images[number] for number in with_images])
    return with_images, None if attempt.batch is None else blank(attempt.batch)


def blank(batch: Encoded) -> Encoded:
    """Return a batch whose images are all zero (the reference's way)."""
    inputs = {
        name: torch.zeros_like(value) if value.is_floating_point() else value for name, value in batch.inputs.items()
    }
    return replace(batch, inputs=inputs)


class Preparer:
    """Prepares batches of one list of samples in background threads."""

    def __init__(self, learner: Learner, samples: Sequence[Sample], *, image: str) -> None:
        self._learner, self._samples, self._image = learner, samples, image
        self._decoders = ThreadPoolExecutor(min(MAX_DECODERS, os.cpu_count() or 1), "decode")
        self._encoder = ThreadPoolExecutor(1, "encode")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Pending work is cancelled, so that an error or Ctrl-C does not wait for decoding.
        for pool in (self._decoders, self._encoder):
            pool.shutdown(wait=True, cancel_futures=True)

    def prepared(self, batches: Iterable[Sequence[int]]) -> Iterator[Prepared]:
        """Yield the batches of row numbers in their order, while the next LOOK_AHEAD are being prepared."""
        waiting: deque[_Waiting] = deque()
        for rows in batches:
            samples = [self._samples[row] for row in rows]
            images = [Unopened(sample.stored_images) for sample in samples]
            pixels = sum(own.num_pixels for own in images)
            # At most PIXELS_AT_ONCE are decoded at a time, or being decoded; of a larger batch, piece by piece.
            while waiting and sum(one.pixels for one in waiting) + pixels > PIXELS_AT_ONCE:
                yield waiting.popleft().result()
            waiting.append(_Waiting(pixels, self._start(rows, samples, images, ahead=pixels <= PIXELS_AT_ONCE)))
            if len(waiting) > LOOK_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _start(
        self, rows: Sequence[int], samples: Sequence[Sample], images: Sequence[Unopened], *, ahead: bool
    ) -> Future[Prepared]:
        opened = [self._decoders.submit(_open_all, own) for own in images] if ahead else images
        return self._encoder.submit(self._encode, rows, samples, opened)

    def _encode(
        self, rows: Sequence[int], samples: Sequence[Sample], opened: Sequence[Future[Images] | Images]
    ) -> Prepared:
        images = [one.result() if isinstance(one, Future) else one for one in opened]
        return prepare(self._learner, rows, samples, images, image=self._image)


class _Waiting(NamedTuple):
    """A batch that is being prepared."""

    pixels: int
    """Pixels of its images."""
    future: Future[Prepared]
    """What will be the batch."""

    def result(self) -> Prepared:
        """Return the batch, once it is prepared."""
        return self.future.result()


def _open_all(images: Unopened) -> Images:
    """Return a sample's images, decoded; unopened, where one cannot be: what encodes the batch reports it."""
    try:
        return list(images)
    except DataError:
        return images
