"""MAGIC-like against algorithm 2 of the paper, written down line by line."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest

from adaptinf.errors import ConfigError
from adaptinf.selection import select


def toy(seed: int, num_rows: int = 70) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    vectors = np.zeros((num_rows, 12))
    for row, kind in enumerate(rng.integers(0, 6, num_rows)):
        vectors[row, [kind, 6 + kind // 2]] = 1
    gain = rng.standard_normal(num_rows)
    gain[5] = np.nan  # a sample without an image; of several, which have equal gains, the seed would decide
    return {
        "scores": {"image_grounding": gain, "perplexity": np.ones(num_rows)},
        "labels": None,
        "ids": [f"toy/{i:03d}" for i in range(num_rows)],
        "vectors": vectors,
    }


def algorithm_2(inputs: dict[str, Any], budget: int, rho: float, eta: float, tau: float, gamma: float) -> set[int]:
    gains = [0.0 if math.isnan(gain) else gain for gain in inputs["scores"]["image_grounding"]]
    middle = statistics.median(gains)
    deviation = 1.4826 * statistics.median([abs(gain - middle) for gain in gains])
    quality = [(gain - middle) / deviation for gain in gains]
    by_quality = sorted(range(len(gains)), key=lambda row: -quality[row])
    eligible = by_quality[: math.ceil(rho * len(gains))]
    short = eligible[: min(math.ceil(eta * budget), len(eligible))]
    buckets: dict[tuple[int, ...], list[int]] = {}
    for row in short:
        buckets.setdefault(tuple(np.flatnonzero(inputs["vectors"][row])), []).append(row)
    mass = {name: sum(math.exp(quality[row] / tau) for row in rows) for name, rows in buckets.items()}
    wanted = {name: budget * mass[name] / sum(mass.values()) for name in buckets}
    quota = {
        name: min(len(rows), math.ceil(gamma * budget), math.floor(wanted[name])) for name, rows in buckets.items()
    }
    left = budget - sum(quota.values())
    for name in sorted(buckets, key=lambda name: -(wanted[name] % 1)):
        if left and len(buckets[name]) > quota[name]:
            quota[name] += 1
            left -= 1
    chosen = [row for name, rows in buckets.items() for row in rows[: quota[name]]]
    rest = [*(row for row in short if row not in chosen), *(row for row in by_quality if row not in short)]
    return set([*chosen, *rest][:budget])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [6, 20, 45, 70])
@pytest.mark.parametrize("options", [(0.6, 2.0, 0.2, 0.05), (1.0, 1.5, 2.0, 0.3)])
def test_it_is_algorithm_2(seed: int, budget: int, options: tuple[float, ...]) -> None:
    inputs, names = toy(seed), ("keep_ratio", "shortlist", "temperature", "bucket_cap")
    chosen = select(**inputs, budget=budget, method="magic_like", seed=seed, **dict(zip(names, options, strict=True)))
    assert set(chosen.indices.tolist()) == algorithm_2(inputs, budget, *options)


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"options.keep_ratio=1.5 must be a share, at most 1"):
        select(**toy(0), budget=5, method="magic_like", keep_ratio=1.5)
    with pytest.raises(ConfigError, match=r"options.temperature=0 must be a positive number"):
        select(**toy(0), budget=5, method="magic_like", temperature=0)
