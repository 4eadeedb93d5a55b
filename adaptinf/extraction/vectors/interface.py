"""What a kind of vector is; `extraction.vector` names one of six, one file each.

Shapes: B samples, D vector dims, S tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from adaptinf.extraction.hooks import Trace
from adaptinf.models.chat import IGNORED, Encoded


@dataclass(frozen=True, kw_only=True)
class Passed:
    """One batch that has been through the model."""

    batch: Encoded
    """The batch."""
    trace: Trace
    """What the hooks recorded."""
    deltas: dict[str, list[Tensor]]
    """Linear name -> gradients of the samples' losses with respect to its outputs, one per call, B x S x d_out.

    Empty for a kind that needs none."""
    expert_gradients: Callable[[], Iterator[tuple[int, dict[str, Tensor]]]]
    """Yields each sample's number, and the gradients of its loss with respect to the weights of fused experts."""
    losses_again: Callable[[], Tensor]
    """Runs the blocks from the lowest target up once more and returns B mean losses."""


class Rows(NamedTuple):
    """A batch's vectors."""

    vectors_BD: Tensor
    """Float32, of any norm; zero or not finite where a sample has no vector."""
    norms_B: Tensor
    """Norms of the gradients that the vectors stand for; NaN for kinds without gradients."""


class VectorKind(Protocol):
    """One kind of vector, ready for one learner."""

    @property
    def dim(self) -> int:
        """D."""
        ...

    @property
    def needs_gradient(self) -> bool:
        """Whether the kind needs the deltas, at the price of a truncated backward pass."""
        ...

    @property
    def watched(self) -> list[int]:
        """Numbers of the blocks whose input the kind needs; the number of blocks: the input of the output head."""
        ...

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's vectors."""
        ...


CHUNK_BYTES = {"cuda": 2**28, "cpu": 2**23}
"""Bytes of per-sample gradients that exist at once; a batch of short samples has many."""


def in_chunks(x_BSI: Tensor, delta_BSO: Tensor, num_weights: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a linear's input and the gradient of its output, a few samples at a time.

    From each sample `num_weights` float32 numbers are made, at most CHUNK_BYTES at a time.
    """
    size = max(1, CHUNK_BYTES.get(x_BSI.device.type, CHUNK_BYTES["cpu"]) // (4 * num_weights))
    yield from zip(torch.split(x_BSI, size), torch.split(delta_BSO, size), strict=True)


def unit_rows(rows: Tensor) -> Tensor:
    """Return the rows at unit length; a row that is zero or not finite becomes zero."""
    length = rows.norm(dim=1, keepdim=True)
    usable = torch.isfinite(length) & (length > 0)
    return torch.where(usable, rows / torch.where(usable, length, 1.0), 0.0)


def one_call(calls: list[Tensor]) -> Tensor:
    """Return the B x S x d tensors of a linear's calls as one longer sequence; its weight gradient is the same."""
    return calls[0] if len(calls) == 1 else torch.cat(calls, 1)


def token_set(name: str, batch: Encoded) -> Tensor:
    """Return the B x S bools of the tokens whose hidden states are averaged."""
    is_token = batch.inputs["attention_mask"].bool()
    is_answer = batch.labels != IGNORED
    first = is_token & (is_token.cumsum(1) == 1)
    if name == "all_but_first":
        return is_token & ~first
    if name == "answer":
        return is_answer
    is_image = batch.is_image
    return is_token & ~is_image & ~first if name == "text" else is_token & ~is_image & ~first & ~is_answer


def pooled(hidden_BSH: Tensor, is_chosen_BS: Tensor) -> Tensor:
    """Return the B x H mean over the chosen tokens, float32; zero where none is chosen.

    It is where the choice is, which is another device than the block's in a model on several.
    """
    home, is_chosen_BS = is_chosen_BS.device, is_chosen_BS.to(hidden_BSH.device)
    weights = is_chosen_BS.float()
    # masked_fill and not a product: 0 x NaN at a padded position would spoil the mean.
    kept = hidden_BSH.float().masked_fill(~is_chosen_BS[..., None], 0.0)
    return (kept.sum(1) / weights.sum(1, keepdim=True).clamp(min=1.0)).to(home)
