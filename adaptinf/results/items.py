"""The scores of a skill's test items after the last step, as records hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

THOUSAND = 1000
"""Scores of test items are stored in thousandths, unless all of them are 0 or 1."""
UNSCORED = -1
"""Stored instead of thousandths for an item that its metric could not score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemScores:
    """Test items of one skill after the last step, in the order of their ids."""

    digest: str
    """Hash of ids and correct answers: runs with the same digest answered the same items."""
    scores: np.ndarray
    """One strict score per item, 0..1, to three decimals."""
    tolerant: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """The same whatever the format of the answer; NaN: unknown, as all are if not given."""

    def __post_init__(self) -> None:
        """Fill in tolerant scores that are not given: they are unknown."""
        if len(self.tolerant) != len(self.scores):
            object.__setattr__(self, "tolerant", np.full(len(self.scores), np.nan))

    def packed(self) -> dict[str, Any]:
        """Return JSON values: bits as hexadecimal digits if all scores are 0 or 1, otherwise thousandths."""
        found = {"digest": self.digest, "items": len(self.scores), **_packed(self.scores)}
        return {**found, "tolerant": _packed(self.tolerant)} if np.isfinite(self.tolerant).any() else found

    @classmethod
    def unpacked(cls, value: Mapping[str, Any]) -> ItemScores:
        """Return the items that `packed` stored."""
        scores = _unpacked(value, value["items"])
        tolerant = _unpacked(value["tolerant"], value["items"]) if "tolerant" in value else np.zeros(0)
        return cls(digest=value["digest"], scores=scores, tolerant=tolerant)


def _packed(scores: np.ndarray) -> dict[str, str]:
    if np.isin(scores, (0.0, 1.0)).all():
        return {"bits": np.packbits(scores.astype(np.uint8)).tobytes().hex()}
    whole = np.where(np.isfinite(scores), np.rint(scores * THOUSAND), UNSCORED).astype(np.int64)
    return {"thousandths": " ".join(map(str, whole.tolist()))}


def _unpacked(value: Mapping[str, Any], num_items: int) -> np.ndarray:
    if "bits" in value:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(value["bits"]), np.uint8))[:num_items]
        return bits.astype(np.float64)
    whole = np.array(value["thousandths"].split(), np.float64)
    return np.where(whole == UNSCORED, np.nan, whole / THOUSAND)
