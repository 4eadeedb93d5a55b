"""Which task stands in which of the six datasets, and how often: a rule over the tasks that there are.

Roles follow from the number of items and a checksum of the name, so nobody has chosen which task is rare.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adaptinf.demo.mixture import MIN_SAMPLES
from benchmarks.real_text.splits import Split

DATASETS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
"""In order of arrival."""
SHARES = (0.36, 0.25, 0.0, 0.14, 0.10, 0.15)
"""Of each dataset in what is left by the third one, which has rare tasks alone."""
HOMES = (0, 1, 5, 0, 3, 1, 4)
"""Datasets that frequent tasks are dealt to, again and again."""
RARE_HOMES = (2, 0, 1, 5, 3, 4)
"""Datasets that rare tasks are dealt to."""
AGAIN = (0, 1, 0, 1, 2, 1)
"""Frequent tasks of earlier datasets that come again in each dataset."""
RARE = 0.4
"""Share of the tasks that are rare: half of them those with the fewest items, the others by checksum."""
RARE_SHARES = (0.02, 0.012, 0.016, 0.028)
"""Share of the stream of each rare task, in turn."""
STEEPNESS = 0.5
"""The r-th frequent task of a dataset has a weight of r ** -STEEPNESS in it."""
NOISY = frozenset({"alpha", "beta", "zeta"})
"""Datasets with some wrong answers."""
NOISE = 0.03
"""Share of wrong answers in them; each is the right answer to another item of the task."""
UNIQUE = 0.6
"""Share of originals among the samples of a task in a dataset; the others are near-duplicates of them."""
ZIPF = 0.8
"""Exponent: a near-duplicate copies the r-th original with probability proportional to r ** -ZIPF."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What each dataset holds."""

    counts: Mapping[str, Mapping[str, int]]
    """Dataset -> task -> number of samples."""
    rare: tuple[str, ...]
    """Tasks with 1 to 3 % of the stream."""


def compose(splits: Sequence[Split], total: int) -> Composition:
    """Return the composition of a stream of about `total` samples; every task has MIN_SAMPLES wherever it stands."""
    rare = _rare(splits)
    frequent = [name for name in _by_checksum(splits) if name not in rare]
    homes = _dealt(frequent, HOMES)
    rare_homes = _dealt(rare, RARE_HOMES)
    share_of = {name: RARE_SHARES[place % len(RARE_SHARES)] for place, name in enumerate(rare)}
    alone = sum(share_of[name] for name in rare_homes[RARE_HOMES[0]])
    counts: dict[str, dict[str, int]] = {}
    for number, dataset in enumerate(DATASETS):
        before = [name for home in homes[:number] for name in home]
        started = sum(AGAIN[:number])
        again = [before[(started + place) % len(before)] for place in range(AGAIN[number])] if before else []
        own = list(dict.fromkeys([*homes[number], *again]))
        room = SHARES[number] * (1.0 - alone) - sum(share_of[name] for name in rare_homes[number])
        weights = {name: (place + 1) ** -STEEPNESS for place, name in enumerate(own)}
        shares = {name: room * weight / sum(weights.values()) for name, weight in weights.items()}
        shares |= {name: share_of[name] for name in rare_homes[number]}
        counts[dataset] = {name: max(MIN_SAMPLES, round(total * share)) for name, share in shares.items()}
    return Composition(counts=counts, rare=tuple(rare))


def _rare(splits: Sequence[Split]) -> list[str]:
    """Return the names of the rare tasks, by checksum."""
    number = round(RARE * len(splits))
    scarce = sorted(splits, key=lambda split: (len(split.training), split.name))[: number // 2]
    others = [name for name in _by_checksum(splits) if name not in {split.name for split in scarce}]
    chosen = {*(split.name for split in scarce), *others[: number - len(scarce)]}
    return [name for name in _by_checksum(splits) if name in chosen]


def _by_checksum(splits: Sequence[Split]) -> list[str]:
    return sorted((split.name for split in splits), key=lambda name: (zlib.crc32(name.encode()), name))


def _dealt(names: Sequence[str], places: Sequence[int]) -> list[list[str]]:
    """Return the names of each dataset, dealt to the places in turn."""
    dealt: list[list[str]] = [[] for _ in DATASETS]
    for number, name in enumerate(names):
        dealt[places[number % len(places)]].append(name)
    return dealt
