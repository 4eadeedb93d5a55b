"""`vector: zeroth_order`: slopes of the loss along a few fixed directions of the adapter, by finite differences.

The P numbers (L(theta + eps z_p) - L(theta - eps z_p)) / 2 eps estimate the gradient's inner products with P seeded
directions z_p (`extraction.probes`), the same for every sample: the paper's variant for little memory. It saves memory,
not time: the upper blocks run 2 P times more. The reference draws new directions for each sample, so that vectors of
two samples cannot be compared.

Shapes: B samples, S tokens, I inputs and O outputs of a linear, R rank, P directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptinf.arrays.seeded import derive_seed
from adaptinf.extraction.vectors.gradient import Factors
from adaptinf.extraction.vectors.interface import Passed, Rows

STEP = 1e-3
"""eps (MeZO's value); the error of a central difference is proportional to its square."""


@dataclass(frozen=True, kw_only=True)
class ZerothOrder:
    """Directional derivatives along seeded directions of signs."""

    linears: dict[str, nn.Module]
    """The target linears."""
    factors: dict[str, Factors]
    """Their adapters."""
    num_directions: int
    """P."""
    seed: int
    """Of the directions."""
    needs_gradient = False

    @property
    def watched(self) -> list[int]:
        """None: the kind reads losses only."""
        return []

    @property
    def dim(self) -> int:
        """One number per direction."""
        return self.num_directions

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's slopes; their root mean square estimates the gradient's norm, for E (z.g)^2 = |g|^2."""
        slopes = []
        for number in range(self.num_directions):
            directions = {name: self.direction(name, number) for name in self.factors}
            above, below = (self._losses(passed, directions, sign * STEP) for sign in (1, -1))
            slopes.append((above - below) / (2 * STEP))
        vectors = torch.stack(slopes, 1).float()
        return Rows(vectors, vectors.square().mean(1).sqrt())

    def direction(self, name: str, number: int) -> tuple[Tensor | None, Tensor]:
        """Return one direction's signs for A (R x I; None where B = 0, as the slope along A is 0) and B (O x R)."""
        own = self.factors[name]
        generator = np.random.default_rng(derive_seed(self.seed, "probe", number, name))
        rank, num_in = own.down_RI.shape
        num_out = own.num_out
        signs = generator.integers(0, 2, rank * (num_in + num_out), dtype=np.int8) * 2 - 1
        both = torch.from_numpy(signs).to(own.down_RI.device, torch.float32)
        up = both[rank * num_in :].view(num_out, rank)
        return (None if own.up_OR is None else both[: rank * num_in].view(rank, num_in)), up

    def _losses(self, passed: Passed, directions: dict[str, tuple[Tensor | None, Tensor]], step: float) -> Tensor:
        with _moved(self.linears, self.factors, directions, step):
            return passed.losses_again().double()


@contextmanager
def _moved(
    linears: dict[str, nn.Module],
    factors: dict[str, Factors],
    directions: dict[str, tuple[Tensor | None, Tensor]],
    step: float,
) -> Iterator[None]:
    """Make the linears compute as if their adapters' weights were moved by `step` along the directions."""
    with ExitStack() as stack:
        for name, module in linears.items():
            hook = module.register_forward_hook(_added(factors[name], *directions[name], step))
            stack.callback(hook.remove)
        yield


def _added(own: Factors, down_RI: Tensor | None, up_OR: Tensor, step: float) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x: Tensor = args[0].float()
        low = x @ own.down_RI.T
        if down_RI is None or own.up_OR is None:
            change = step * low @ up_OR.T
        else:
            moved = low + step * (x @ down_RI.T)
            change = moved @ (own.up_OR + step * up_OR).T - low @ own.up_OR.T
        return output + (own.scale * change).to(output.dtype)

    return hook
