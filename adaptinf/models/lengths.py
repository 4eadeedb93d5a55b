"""Numbers of tokens before any image is decoded, and batches of similar length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from adaptinf.data import Message, Sample
from adaptinf.errors import ModelError
from adaptinf.images import StoredImage
from adaptinf.models.chat import num_tokens, text_of
from adaptinf.models.chat.pieces import CHARACTERS_AT_ONCE
from adaptinf.models.loading import Learner

AUTO_BATCH_TOKENS = {"cuda": 16_384, "cpu": 4_096}
"""Tokens per batch, padding included, by kind of device, unless set otherwise."""
TEXT_BLOCK = 1024
"""Number of texts tokenised at once to estimate lengths."""
CHARACTERS_PER_TOKEN = 32
"""Of a text that has more than so many for each token of `max_length`, the beginning is tokenised first."""
BLANK_SIZES = ((336, 336), (672, 336), (160, 448))
"""Widths and heights of the blank images that show whether the number of tokens depends on an image's size."""
Size = tuple[int, int]
"""Width and height in pixels."""


def auto_batch_tokens(device: torch.device) -> int:
    """Return the tokens per batch for a device of which only the kind is known."""
    return AUTO_BATCH_TOKENS.get(device.type, AUTO_BATCH_TOKENS["cpu"])


def token_lengths(samples: Sequence[Sample], learner: Learner) -> np.ndarray:
    """Return the estimated number of tokens of each sample (int64): text, chat template and images.

    No image is decoded; where the size of an image matters, its header is read. Estimates only decide which samples
    share a batch; they never change a result.
    """
    image_tokens = ImageTokens(learner)
    an_exchange = _template_tokens(learner)
    lengths: list[int] = []
    for block in blocks_of((samples[row] for row in range(len(samples))), TEXT_BLOCK):
        for length, own in zip(_text_lengths(learner, block), block, strict=True):
            exchanges = sum(message["role"] == "assistant" for message in own.messages)
            lengths.append(length + an_exchange * exchanges + sum(image_tokens(image) for image in own.stored_images))
    return np.minimum(np.array(lengths, dtype=np.int64), learner.config.max_length)


def blocks_of(samples: Iterable[Sample], num_samples: int) -> Iterator[list[Sample]]:
    """Yield blocks of neighbouring samples: so many, or fewer of long texts, at least one."""
    block: list[Sample] = []
    characters = 0
    for sample in samples:
        length = len(text_of(sample))
        if block and (len(block) == num_samples or characters + length > CHARACTERS_AT_ONCE):
            yield block
            block, characters = [], 0
        block.append(sample)
        characters += length
    if block:
        yield block


def _text_lengths(learner: Learner, samples: Sequence[Sample]) -> list[int]:
    """Return the number of tokens of each text; of a very long one, of its beginning if that fills `max_length`."""
    limit = learner.config.max_length
    texts = [text_of(sample) for sample in samples]
    heads = [text[: CHARACTERS_PER_TOKEN * limit] for text in texts]
    lengths = _num_text_tokens(learner, heads)
    for number, (text, head) in enumerate(zip(texts, heads, strict=True)):
        if len(text) > len(head) and lengths[number] < 2 * limit:
            (lengths[number],) = _num_text_tokens(learner, [text])
    return lengths


def _num_text_tokens(learner: Learner, texts: list[str]) -> list[int]:
    return [len(ids) for ids in learner.tokenizer(texts, add_special_tokens=False)["input_ids"]]


@dataclass
class ImageTokens:
    """Counts the tokens of images by encoding one blank image of each size that occurs."""

    learner: Learner
    """The learner whose processor is used."""
    known: dict[Size, int] = field(default_factory=dict)
    """Size -> number of tokens."""

    def __call__(self, image: StoredImage) -> int:
        """Return the number of tokens of an image file; that of a blank image where its header cannot be read."""
        if not self.learner.has_vision:
            return 0
        size = (image.size() or BLANK_SIZES[0]) if self.depends_on_size else BLANK_SIZES[0]
        return self.of_size(size)

    @property
    def depends_on_size(self) -> bool:
        """Whether images of different sizes have different numbers of tokens."""
        return len({self.of_size(size) for size in BLANK_SIZES}) > 1

    def of_size(self, size: Size) -> int:
        """Return the number of tokens of an image of that size; 0 where the processor refuses such an image."""
        if size not in self.known:
            tokens = _num_tokens(self.learner, [Image.new("RGB", size)]) - _num_tokens(self.learner, [])
            self.known[size] = max(0, tokens)
        return self.known[size]


def _template_tokens(learner: Learner) -> int:
    """Return the number of tokens that the chat template adds to a question and its answer."""
    plain = learner.tokenizer("?\n.", add_special_tokens=False)["input_ids"]
    return max(0, _num_tokens(learner, []) - len(plain))


def _num_tokens(learner: Learner, images: list[Image.Image]) -> int:
    """Return the number of tokens of a very short conversation about some images.

    0 where the processor refuses it, as an image of such proportions or a text without an image: the samples like it
    are refused by name when they are encoded.
    """
    question = {"type": "text", "text": "?"}
    answer = Message(role="assistant", content=[{"type": "text", "text": "."}])
    blocks = [{"type": "image", "text": None} for _ in images]
    messages = (Message(role="user", content=[*blocks, question]), answer)  # type: ignore[list-item]
    blank = Sample(id="blank/0", source="blank", messages=messages)
    try:
        return num_tokens(learner, blank, images)
    except ModelError:
        return 0


def batches_in_order(
    lengths: np.ndarray,
    order: np.ndarray,
    batch_tokens: int,
    *,
    max_padding: float = 1.0,
    kinds: np.ndarray | None = None,
) -> Iterator[tuple[int, ...]]:
    """Yield consecutive parts of `order`, each of at least one row.

    Args:
        lengths: N tokens.
        order: row numbers.
        batch_tokens: largest number of tokens in a batch, padding included.
        max_padding: largest share of padding among a batch's tokens.
        kinds: N numbers; a batch holds rows of one kind, so `order` should be sorted by them. None: of all kinds.
    """
    batch: list[int] = []
    longest = total = 0
    for row in order.tolist():
        length = max(1, int(lengths[row]))
        padded = max(longest, length) * (len(batch) + 1)
        is_other = bool(batch) and kinds is not None and kinds[batch[-1]] != kinds[row]
        if batch and (is_other or padded > batch_tokens or padded - total - length > max_padding * padded):
            yield tuple(batch)
            batch, longest, total = [], 0, 0
        batch.append(row)
        longest, total = max(longest, length), total + length
    if batch:
        yield tuple(batch)
