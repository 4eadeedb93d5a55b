"""Lengths before anything is opened, and batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from adaptinf.data import Message, Sample
from adaptinf.errors import ModelError
from adaptinf.models.chat import encode, text_of
from adaptinf.models.loading import Learner

AUTO_BATCH_TOKENS = {"cuda": 16_384, "cpu": 4_096}
"""Tokens in a batch, padding included, where nothing else is said."""
TEXT_BLOCK = 1024
"""Texts tokenised at once while lengths are estimated."""
PROBE_SIZE = (336, 336)
"""Pixels of the picture that is encoded to see how many tokens a picture takes (CLIP-L/336's input)."""


def auto_batch_tokens(device: torch.device) -> int:
    """Return the tokens of a batch for `batch_tokens: auto`."""
    return AUTO_BATCH_TOKENS.get(device.type, AUTO_BATCH_TOKENS["cpu"])


def token_lengths(samples: Sequence[Sample], learner: Learner) -> np.ndarray:
    """Return the estimated tokens of each sample (int64): its text's, and a fixed number for each picture.

    No picture is opened. An estimate shapes batches only, never a result.
    """
    tokens_per_picture = picture_tokens(learner) if learner.sees else 0
    lengths: list[int] = []
    for start in range(0, len(samples), TEXT_BLOCK):
        block = [samples[row] for row in range(start, min(start + TEXT_BLOCK, len(samples)))]
        texts = learner.tokenizer([text_of(sample) for sample in block], add_special_tokens=False)["input_ids"]
        lengths += [len(text) + tokens_per_picture * len(own.images) for text, own in zip(texts, block, strict=True)]
    return np.minimum(np.array(lengths, dtype=np.int64), learner.config.max_length)


def picture_tokens(learner: Learner) -> int:
    """Return how many tokens one ordinary picture takes, found by encoding one.

    Raises:
        ModelError: the processor gives a picture no tokens.
    """
    question = {"type": "text", "text": "?"}
    answer = Message(role="assistant", content=[{"type": "text", "text": "."}])
    lengths = []
    for pictures in ([], [Image.new("RGB", PROBE_SIZE)]):
        blocks = [{"type": "image", "text": None} for _ in pictures]
        messages = (Message(role="user", content=[*blocks, question]), answer)  # type: ignore[list-item]
        probe = Sample(id="probe/0", source="probe", messages=messages)
        lengths.append(encode(learner, [probe], [pictures]).labels.shape[1])
    if lengths[1] <= lengths[0]:
        raise ModelError(f"the processor of {learner.config.path} gives a picture no tokens")
    return int(lengths[1] - lengths[0])


def batches_in_order(lengths: np.ndarray, order: np.ndarray, batch_tokens: int) -> Iterator[tuple[int, ...]]:
    """Yield consecutive runs of `order`, each of one row at least and of `batch_tokens` at most when padded."""
    batch: list[int] = []
    longest = 0
    for row in order.tolist():
        length = max(1, int(lengths[row]))
        if batch and max(longest, length) * (len(batch) + 1) > batch_tokens:
            yield tuple(batch)
            batch, longest = [], 0
        batch.append(row)
        longest = max(longest, length)
    if batch:
        yield tuple(batch)
