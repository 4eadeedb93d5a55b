"""MAGIC-like: samples whose answer needs the image, of all kinds of neurons (docs/selection.md#since-the-paper).

After Das Biswas & Roy 2026 (arXiv 2605.26004), alg. 2, which could be read in full. Theirs: of the candidates the
share `keep_ratio` of the highest multimodal gain (eq. 5, 13); of these a shortlist of `shortlist` times the budget by
quality (eq. 14); buckets of the same skill-neuron signature (eq. 15); quotas by the softmax-like mass of quality
(eq. 16), at most `bucket_cap` of the budget each (eq. 17), what is left over by the fractions of the quotas; the
highest quality of each bucket (eq. 18), then of the rest of the shortlist, then of the eligible. Ours: quality is the
gain alone, without their second part, the sharpness of attention to image tokens, which is not measured here (hence
the name); it is normalised by median and MAD, as they say robustly and no more; after the eligible come the others.

Shapes: N candidates, K buckets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.entropy import robust_deviations, within_unit
from adaptinf.selection.interface import Candidates, Choice, groups_of
from adaptinf.selection.methods.multiway import check_scores
from adaptinf.selection.options import check_positive

GAIN = "image_grounding"
"""Mean loss of an answer token without the images minus that with them; without images 0."""
FARTHEST = 100.0
"""Deviations of an outlier at most, so that the mass of no bucket leaves the range of floats."""


@selector("magic_like")
@dataclass(frozen=True, kw_only=True)
class MagicLike:
    """The highest multimodal gain in each bucket of samples that excite the same neurons."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "vectors"})
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "neurons",
        "extraction.image": "removed",
        "clustering.clusters": 20,
    }
    allowed_settings: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "extraction.vector": ("auto", "neurons"),
        "extraction.image": ("auto", "removed", "blank"),
    }
    keep_ratio: float = 0.6
    """Share of the candidates that is eligible, by gain (their App. A.3, as the next three)."""
    shortlist: float = 2.0
    """Samples of the shortlist, in budgets."""
    temperature: float = 0.2
    """Of a bucket's mass, the sum of exp(quality / temperature)."""
    bucket_cap: float = 0.05
    """Share of the budget that the quota of a bucket is at most."""

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("keep_ratio", "shortlist", "temperature", "bucket_cap"):
            check_positive(f"options.{name}", getattr(self, name))
        for name in ("keep_ratio", "bucket_cap"):
            if getattr(self, name) > 1:
                raise ConfigError(f"selection.options.{name}={getattr(self, name)!r} must be a share, at most 1")

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return the selection of alg. 2; equal gains in seeded order."""
        assert candidates.vectors is not None
        check_scores("selection.method=magic_like", (GAIN,), candidates)
        gain_N = np.nan_to_num(candidates.scores[GAIN], nan=0.0)
        # Gain and quality rank alike, as quality is the gain normalised.
        ranked = np.lexsort((candidates.keys("ties"), -gain_N))
        eligible = ranked[: math.ceil(self.keep_ratio * len(ranked))]
        short = eligible[: math.ceil(self.shortlist * budget)]
        quotas = self._quotas(candidates, short, quality_of(gain_N), budget)
        is_first = np.zeros(len(candidates), dtype=bool)
        for rows, quota in quotas:
            is_first[rows[:quota]] = True
        first = short[is_first[short]]
        rows = np.concatenate([first, ranked[~is_first[ranked]]])[:budget]
        return Choice(rows=rows, scorer=np.full(len(rows), GAIN, dtype=object), score=candidates.scores[GAIN][rows])

    def _quotas(
        self, candidates: Candidates, short: np.ndarray, quality_N: np.ndarray, budget: int
    ) -> list[tuple[np.ndarray, int]]:
        """Return the members of each bucket of the shortlist, best first, with how many of them are taken."""
        assert candidates.vectors is not None
        signs = np.packbits(np.asarray(candidates.vectors[short]) != 0, axis=1)
        numbers = np.unique(signs, axis=0, return_inverse=True)[1].reshape(-1)
        buckets = [short[group.rows] for group in groups_of(numbers.astype(np.int64))]
        if not buckets:
            return []
        logits_K = [quality_N[rows] / self.temperature for rows in buckets]
        top = max(float(logits.max()) for logits in logits_K)
        mass_K = np.array([np.exp(logits - top).sum() for logits in logits_K])
        wanted_K = budget * mass_K / mass_K.sum()
        cap = math.ceil(self.bucket_cap * budget)
        quota_K = np.minimum([min(len(rows), cap) for rows in buckets], np.floor(wanted_K).astype(np.int64))
        left = budget - int(quota_K.sum())
        for number in np.argsort(np.floor(wanted_K) - wanted_K, kind="stable"):
            if left > 0 and quota_K[number] < len(buckets[number]):
                quota_K[number] += 1
                left -= 1
        return list(zip(buckets, quota_K.tolist(), strict=True))


def quality_of(gain_N: np.ndarray) -> np.ndarray:
    """Return the normalised gain: robust deviations from the median, at most FARTHEST; 0 where all are equal."""
    if not len(gain_N):
        return gain_N
    deviations = robust_deviations(within_unit(gain_N))
    quality: np.ndarray = np.zeros(len(gain_N)) if deviations is None else np.clip(deviations, -FARTHEST, FARTHEST)
    return quality
