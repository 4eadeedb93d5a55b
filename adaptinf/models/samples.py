"""Small conversations to try a model on, and images of random pixels, in which no two places are equal."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adaptinf.data import Block, Message, Sample

IMAGE_SIZE = (336, 336)
"""Width and height of an image."""
QUESTION = "What is this?"
WORDS = "one two three four five six seven eight nine ten".split()
"""Of the answers."""


def trial_sample(num_words: int, num_images: int = 0) -> Sample:
    """Return a conversation of one turn about some images, whose answer has `num_words` words."""
    images: list[Block] = [{"type": "image", "text": None} for _ in range(num_images)]
    answer = " ".join(WORDS[number % len(WORDS)] for number in range(num_words))
    return Sample(
        id=f"trial/{num_words}-{num_images}",
        source="trial",
        messages=(
            Message(role="user", content=[*images, {"type": "text", "text": QUESTION}]),
            Message(role="assistant", content=[{"type": "text", "text": answer}]),
        ),
    )


def trial_images(num_images: int, *, size: tuple[int, int] = IMAGE_SIZE) -> list[Image.Image]:
    """Return images that all differ."""
    rng = np.random.default_rng(0)
    width, height = size
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), mode="RGB") for _ in range(num_images)
    ]
