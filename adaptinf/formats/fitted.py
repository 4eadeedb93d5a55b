"""What written formats with `<image>` tags and `loss` of a turn have in common: rows of one kind, as Arrow needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from adaptinf.data import Sample


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A format that writes in every row what any of the samples needs."""

    with_images: bool = False
    """Whether every row is written with `images`, as Arrow needs rows of one kind; False: those with images."""
    with_flags: bool = False
    """Whether every turn of the assistant is written with `loss`, for the same reason; False: those not learnt."""

    @classmethod
    def fitting(cls, samples: Iterable[Sample]) -> Self:
        """Return the format that writes in every row what any of these samples needs."""
        images = flags = False
        for sample in samples:
            images, flags = images or bool(sample.images), flags or bool(sample.unlearnt)
        return cls(with_images=images, with_flags=flags)

    def flag(self, sample: Sample, number: int) -> dict[str, bool]:
        """Return `loss` of a turn, where it is written."""
        is_shown = number in sample.unlearnt or (self.with_flags and sample.messages[number]["role"] == "assistant")
        return {"loss": number not in sample.unlearnt} if is_shown else {}
