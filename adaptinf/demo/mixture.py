"""Composition of a stream: the skills of each dataset with their shares, its redundancy and its noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MIN_SAMPLES = 8
"""Smallest number of samples per skill of a dataset, at any scale."""

KNOWN_TO_BASE = ("color", "shape", "count")
"""Skills in which the base model is well above chance; they count as introduced before the stream."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Composition of a stream."""

    sizes: Mapping[str, int]
    """Number of samples per dataset at scale 1, in order of arrival."""
    shares: Mapping[str, Mapping[str, float]]
    """Share of each skill in each dataset."""
    noisy: frozenset[str]
    """Datasets with some wrong answers."""
    noise: float = 0.03
    """Share of wrong answers in a noisy dataset; each is the correct answer to another question of the same skill."""
    unique: float = 0.5
    """Share of originals among the samples of a skill; the rest are near-duplicates of them."""
    zipf: float = 0.8
    """Exponent: a near-duplicate copies the r-th original with probability proportional to r ** -zipf."""
    multi_turn: float = 0.25
    """Share of conversations with two questions, in skills that allow two."""

    def counts(self, scale: float) -> dict[str, dict[str, int]]:
        """Return the number of samples per dataset and skill."""
        return {
            dataset: {
                skill: max(MIN_SAMPLES, round(self.sizes[dataset] * scale * share)) for skill, share in shares.items()
            }
            for dataset, shares in self.shares.items()
        }

    @property
    def skills(self) -> tuple[str, ...]:
        """Every skill of the stream, in order of arrival."""
        return tuple(dict.fromkeys(skill for shares in self.shares.values() for skill in shares))

    def introduced_at(self, skill: str) -> str:
        """Return the first dataset with a skill, or `base` if the base model knows it."""
        if skill in KNOWN_TO_BASE:
            return "base"
        return next(dataset for dataset, shares in self.shares.items() if skill in shares)


LIIT = Mixture(
    sizes={"llava": 8000, "m3it": 5000, "minigpt4": 400, "mantis": 2500, "lamm": 1500, "visionflan": 3000},
    shares={
        "llava": {
            "color": 0.27, "shape": 0.20, "position": 0.13, "count": 0.12, "box": 0.13, "sign": 0.11,
            "opposite": 0.04,
        },
        "m3it": {
            "digit": 0.23, "french_color": 0.19, "caption": 0.16, "color": 0.12, "parity": 0.13, "photo_place": 0.06,
            "plus_one": 0.06, "german_shape": 0.05,
        },
        "minigpt4": {"long_caption": 1.0},
        "mantis": {"both_colors": 0.58, "more": 0.32, "two_digits": 0.10},
        "lamm": {"count": 0.30, "box": 0.26, "photo_name": 0.28, "size": 0.16},
        "visionflan": {
            "photo_kind": 0.25, "background": 0.21, "chart_max": 0.17, "addition": 0.09, "mirror": 0.08,
            "spanish_count": 0.08, "next_day": 0.07, "color": 0.05,
        },
    },
    noisy=frozenset({"llava", "m3it", "visionflan"}),
)  # fmt: skip
"""Six datasets named after the paper's, 20 400 samples: the stream of the demo and of mini-liit."""

LIIT_B = Mixture(
    sizes={"visionflan": 4000, "lamm": 2400, "m3it": 6000, "mantis": 1200, "minigpt4": 1800, "llava": 5000},
    shares={
        "visionflan": {
            "background": 0.32, "mirror": 0.22, "photo_kind": 0.18, "addition": 0.14, "next_day": 0.09,
            "chart_max": 0.05,
        },
        "lamm": {"size": 0.50, "box": 0.36, "photo_name": 0.09, "count": 0.05},
        "m3it": {
            "german_shape": 0.30, "plus_one": 0.24, "caption": 0.18, "photo_place": 0.14, "spanish_count": 0.07,
            "french_color": 0.03, "parity": 0.02, "digit": 0.02,
        },
        "mantis": {"two_digits": 0.55, "more": 0.35, "both_colors": 0.10},
        "minigpt4": {"long_caption": 0.92, "caption": 0.08},
        "llava": {
            "position": 0.40, "sign": 0.26, "opposite": 0.18, "shape": 0.08, "color": 0.05, "count": 0.03,
        },
    },
    noisy=frozenset({"lamm", "m3it", "llava"}),
    noise=0.05,
    unique=0.2,
    zipf=1.1,
)  # fmt: skip
"""The same skills in another order with other rare ones, more redundancy and noise, 20 400 samples: mini-liit-b."""

TEXT = Mixture(
    sizes={"dolly": 3000, "flan": 4000, "alpaca": 1500, "oasst": 600, "sharegpt": 2400},
    shares={
        "dolly": {"opposite": 0.42, "last_word": 0.34, "category": 0.20, "spelled": 0.04},
        "flan": {"owner": 0.40, "addition": 0.30, "odd_or_even": 0.14, "opposite": 0.12, "to_german": 0.04},
        "alpaca": {"first_word": 0.60, "next_day": 0.34, "subtraction": 0.06},
        "oasst": {"from_french": 0.88, "day_before": 0.12},
        "sharegpt": {"thing_color": 0.46, "category": 0.30, "next_day": 0.20, "from_french": 0.04},
    },
    noisy=frozenset({"flan", "sharegpt"}),
)  # fmt: skip
"""Five text-only datasets, 11 500 samples (the paper's Table 8 tunes a language-only model): mini-liit-text."""
