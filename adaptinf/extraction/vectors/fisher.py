"""`vector: fisher`: norms of the rows and columns of each linear's weight gradient (not in the paper).

For every target linear, the norms of the rows and of the columns of the sample's full weight gradient
dW = sum_t delta_t x_t^T, each of the two groups scaled to unit length.

Shapes: B samples, S tokens, I inputs and O outputs of a linear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adaptinf.extraction.vectors.interface import Passed, Rows, in_chunks, one_call, unit_rows
from adaptinf.extraction.vectors.sketch import Sketch


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """Row and column norms of the weight gradients."""

    size: int
    """Sum of I + O over the linears."""
    sketch: Sketch | None
    """Folds them to `dim`; None where there are at most that many."""
    experts: Mapping[str, bool] = field(default_factory=dict)
    """Weight of fused experts -> whether it is E x O x I, else E x I x O; each counts as one layer."""
    needs_gradient = True

    @property
    def watched(self) -> list[int]:
        """None: the kind reads the linears only."""
        return []

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.size if self.sketch is None else self.sketch.dim

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's vectors, and the norms of the full weight gradients."""
        parts: list[Tensor] = []
        squares: list[Tensor] = []
        for name, deltas in passed.deltas.items():
            rows_BO, columns_BI = squared_norms(one_call(passed.trace.inputs[name]), one_call(deltas))
            parts += [unit_rows(rows_BO.sqrt()), unit_rows(columns_BI.sqrt())]
            squares.append(rows_BO.sum(1))
        if self.experts:
            groups, squared_B = self._of_experts(passed)
            parts += [unit_rows(group.sqrt()) for group in groups]
            squares.append(squared_B)
        vectors = torch.cat(parts, 1)
        return Rows(vectors if self.sketch is None else self.sketch(vectors), torch.stack(squares).sum(0).sqrt())

    def _of_experts(self, passed: Passed) -> tuple[list[Tensor], Tensor]:
        """Return the squared norms of all rows and of all columns of each fused weight's gradient, and their sums."""
        rows: dict[str, list[Tensor]] = {name: [] for name in self.experts}
        columns: dict[str, list[Tensor]] = {name: [] for name in self.experts}
        for _, gradients in passed.expert_gradients():
            for name, gradient in gradients.items():
                squared = gradient.float().square_()
                along = (2, 1) if self.experts[name] else (1, 2)
                rows[name].append(squared.sum(along[0]).flatten())
                columns[name].append(squared.sum(along[1]).flatten())
        groups = [torch.stack(kind[name]) for name in self.experts for kind in (rows, columns)]
        return groups, torch.stack([group.sum(1) for group in groups[::2]]).sum(0)


def squared_norms(x_BSI: Tensor, delta_BSO: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared norms of the rows (B x O) and columns (B x I) of each sample's weight gradient."""
    rows, columns = [], []
    for x, delta in in_chunks(x_BSI, delta_BSO, x_BSI.shape[2] * delta_BSO.shape[2]):
        squared_BOI = torch.bmm(delta.float().mT, x.float()).square_()
        rows.append(squared_BOI.sum(2))
        columns.append(squared_BOI.sum(1))
    return torch.cat(rows), torch.cat(columns)
