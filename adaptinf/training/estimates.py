"""How long a sample is for a model, estimated without tokenising its text or decoding its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adaptinf.data import Sample
from adaptinf.images import StoredImage
from adaptinf.models.chat import text_of
from adaptinf.models.lengths import BLANK_SIZES, ImageTokens, Size
from adaptinf.models.loading import Learner

BYTES_PER_TOKEN = 4
"""Of a text in UTF-8. Bytes, because a character of many scripts is a token or more, and has three of them."""
SIZE_STEP = 64
"""Widths and heights are rounded up to multiples of this, so that few sizes are tried."""
MAX_SIDE = 2048
"""Longer images are scaled down to it; processors have an upper limit too."""


@dataclass(frozen=True)
class Estimates:
    """Estimates lengths of samples; they decide which samples share a micro-batch, and never change a result."""

    learner: Learner
    """The model."""
    image_tokens: ImageTokens = field(init=False)
    """Knows the tokens of images by their size."""

    def __post_init__(self) -> None:
        """Begin without any known size."""
        object.__setattr__(self, "image_tokens", ImageTokens(self.learner))

    def __call__(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return the estimated tokens of each sample, int64, at most `max_length`."""
        lengths = [
            len(text_of(sample).encode(errors="surrogatepass")) // BYTES_PER_TOKEN
            + sum(map(self._of_image, sample.stored_images))
            for sample in samples
        ]
        return np.minimum(np.array(lengths, dtype=np.int64), self.learner.config.max_length)

    def _of_image(self, image: StoredImage) -> int:
        if not self.learner.has_vision:
            return 0
        size = image.size() if self.image_tokens.depends_on_size else None
        return self.image_tokens.of_size(rounded(size) if size else BLANK_SIZES[0])


def rounded(size: Size) -> Size:
    """Return a size of about the same proportions, of which there are few."""
    scale = min(1.0, MAX_SIDE / max(size))
    width, height = (max(1, -(-round(side * scale) // SIZE_STEP)) * SIZE_STEP for side in size)
    return width, height
