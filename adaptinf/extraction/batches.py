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
from typing import Self

import torch

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.models.chat import Encoded, Images, encode_usable, without_images
from adaptinf.models.loading import Learner

logger = logging.getLogger(__name__)

LOOK_AHEAD = 2
"""Batches that are being prepared while one is measured."""
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
    kept = [samples[number] for number in attempt.kept]
    with_images, compared = _compared(learner, kept, [images[number] for number in attempt.kept], image)
    return Prepared(
        rows=tuple(rows[number] for number in attempt.kept),
        ids=tuple(sample.id for sample in kept),
        batch=attempt.batch,
        with_images=with_images,
        without_images=compared,
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
        waiting: deque[Future[Prepared]] = deque()
        for rows in batches:
            waiting.append(self._start(rows))
            if len(waiting) > LOOK_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _start(self, rows: Sequence[int]) -> Future[Prepared]:
        samples = [self._samples[row] for row in rows]
        opened = [self._decoders.submit(_open_all, sample) for sample in samples]
        return self._encoder.submit(self._encode, rows, samples, opened)

    def _encode(
        self, rows: Sequence[int], samples: Sequence[Sample], opened: Sequence[Future[Images | None]]
    ) -> Prepared:
        images = [future.result() for future in opened]
        found = [(row, sample, own) for row, sample, own in zip(rows, samples, images, strict=True) if own is not None]
        missing = tuple(sample.id for sample, own in zip(samples, images, strict=True) if own is None)
        batch = prepare(
            self._learner,
            [row for row, _, _ in found],
            [sample for _, sample, _ in found],
            [own for _, _, own in found],
            image=self._image,
        )
        return replace(batch, unreadable=missing)


def _open_all(sample: Sample) -> Images | None:
    """Return a sample's images; None if one cannot be opened, though it could when the dataset was added."""
    try:
        return [image.open() for image in sample.stored_images]
    except DataError as error:
        logger.warning("%s is unscored: %s", sample.id, error)
        return None
