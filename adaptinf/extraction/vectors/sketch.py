"""The balanced count-sketch: permute, sign, fold.

S(g) = sum over rows of (sign * g[permutation]) padded and folded to `dim` columns. Inner products are preserved in
expectation, and the variance of a squared norm is at most 2/dim of its square, as for a dense random projection. It
costs one addition per element, needs no scatter, and the same seed gives the same matrix on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptinf.arrays.seeded import derive_seed


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """One fixed linear map from `size` to `dim`."""

    dim: int
    """Length of the result."""
    permutation: Tensor
    """`size` int64."""
    signs: Tensor
    """`size` floats, -1 or 1."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the B x dim sketches of B x size rows."""
        signed = rows[:, self.permutation] * self.signs
        short = -signed.shape[1] % self.dim
        padded = torch.nn.functional.pad(signed, (0, short))
        return padded.view(len(rows), -1, self.dim).sum(1)


def make_sketch(size: int, dim: int, *, seed: int, name: str, device: torch.device) -> Sketch:
    """Return the sketch for one named part of the gradient; sketches of parts add up to a sketch of the whole."""
    generator = np.random.default_rng(derive_seed(seed, "sketch", name, size, dim))
    # At least `dim` places, so that a part smaller than `dim` is spread over all columns.
    places = max(size, dim)
    order = generator.permutation(places)
    signs = generator.integers(0, 2, places) * 2.0 - 1.0
    if size >= dim:
        permutation, used = order, signs
    else:
        permutation, used = _spread(order, signs, size)
    return Sketch(
        dim=dim,
        permutation=torch.from_numpy(permutation).to(device),
        signs=torch.from_numpy(used).to(device, torch.float32),
    )


def _spread(order: np.ndarray, signs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a map that puts `size` elements at random columns of the result and zeros elsewhere."""
    is_real = order < size
    return np.where(is_real, order, 0), np.where(is_real, signs, 0.0)
