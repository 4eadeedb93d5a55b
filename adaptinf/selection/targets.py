"""Examples of what a model shall get better at, towards which a method chooses.

Shapes: M targets, N candidates, D vector dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptinf.arrays.tiles import blocks, tied, unit_rows
from adaptinf.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class Targets:
    """M targets, measured as the pool is."""

    ids: np.ndarray
    """M ids, in the order of their file."""
    vectors: np.ndarray
    """M x D."""
    skills: np.ndarray
    """M names of the skill, or task, that each belongs to; those without a name, an empty text, are one more task."""

    def __len__(self) -> int:
        return len(self.ids)


def checked_targets(targets: Targets, num_dims: int | None) -> Targets:
    """Return targets that fit candidates with vectors of D numbers (None: they have none).

    Raises:
        ConfigError: there is no target.
        DataError: the vectors have another shape, or one is zero or not finite.
    """
    if not len(targets):
        raise ConfigError("there are no targets; give at least one example with an answer")
    if targets.vectors.shape != (len(targets), num_dims) and num_dims is not None:
        raise DataError(
            f"targets.vectors have shape {targets.vectors.shape} for {len(targets)} targets and vectors of {num_dims} "
            "numbers; measure both alike"
        )
    usable = unit_rows(np.asarray(targets.vectors), np.float64)[1]
    if not usable.all():
        raise DataError(f"target {targets.ids[int(np.argmin(usable))]} has a vector that is zero or not finite")
    return targets


def cosines(vectors_ND: np.ndarray, directions_MD: np.ndarray) -> np.ndarray:
    """Return the N x M products of unit vectors with M directions, rounded so that exact duplicates tie.

    -inf for a candidate whose vector is zero or not finite, so that it comes last. N x M float64 in memory.
    """
    found = np.empty((len(vectors_ND), len(directions_MD)))
    for block in blocks(len(vectors_ND), 8 * vectors_ND.shape[1]):
        units, usable = unit_rows(np.asarray(vectors_ND[block]), np.float64)
        found[block] = np.where(usable[:, None], tied(units @ directions_MD.T), -np.inf)
    return found


def units_of(targets: Targets) -> np.ndarray:
    """Return the M x D unit vectors of the targets."""
    return unit_rows(np.asarray(targets.vectors), np.float64)[0]
