"""Which skills each of the six datasets teaches, and how unevenly."""

from __future__ import annotations

SIZES = {"llava": 8000, "m3it": 5000, "minigpt4": 400, "mantis": 2500, "lamm": 1500, "visionflan": 3000}
"""Samples at scale 1, in order of arrival: 20 400 in all."""

MIXTURE: dict[str, dict[str, float]] = {
    "llava": {
        "color": 0.30, "shape": 0.22, "position": 0.12, "count": 0.12, "box": 0.13, "sign": 0.08,
        "opposite": 0.03,
    },
    "m3it": {
        "digit": 0.25, "french_color": 0.20, "caption": 0.16, "color": 0.14, "parity": 0.13, "photo_place": 0.05,
        "plus_one": 0.04, "german_shape": 0.03,
    },
    "minigpt4": {"long_caption": 1.0},
    "mantis": {"both_colors": 0.60, "more": 0.32, "two_digits": 0.08},
    "lamm": {"count": 0.34, "box": 0.30, "photo_name": 0.28, "size": 0.08},
    "visionflan": {
        "photo_kind": 0.28, "background": 0.23, "chart_max": 0.18, "color": 0.10, "addition": 0.06, "mirror": 0.06,
        "spanish_count": 0.05, "next_day": 0.04,
    },
}  # fmt: skip
"""Share of each skill in its dataset."""

NOISY = frozenset({"llava", "m3it", "visionflan"})
"""Datasets with wrong answers."""
NOISE = 0.03
"""Share of wrong answers in a noisy dataset: each is the right answer to another question of the same skill."""
UNIQUE = 0.35
"""Share of original content in a skill; the rest are near-duplicates of it."""
ZIPF = 0.8
"""A near-duplicate copies the r-th original with probability proportional to r ** -ZIPF."""
MULTI_TURN = 0.25
"""Share of two-turn conversations, in skills that have two questions to ask."""
FEWEST = 8
"""Every skill of a dataset has at least this many samples, however small the scale."""

KNOWN_TO_BASE = ("color", "shape", "count")
"""Skills that the base model answers well above chance; they count as introduced before the stream."""


def counts(scale: float) -> dict[str, dict[str, int]]:
    """Return the number of samples per dataset and skill."""
    return {
        dataset: {skill: max(FEWEST, round(SIZES[dataset] * scale * share)) for skill, share in shares.items()}
        for dataset, shares in MIXTURE.items()
    }


def introduced_at(skill: str) -> str:
    """Return the first dataset that teaches a skill, or `base`."""
    if skill in KNOWN_TO_BASE:
        return "base"
    return next(dataset for dataset, shares in MIXTURE.items() if skill in shares)
