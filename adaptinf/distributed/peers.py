"""What one rank knows of the others, and what they exchange; a process by itself is the only rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

Value = TypeVar("Value")

BUCKET_ELEMENTS = 2**24
"""Elements of gradients that are exchanged at once: 64 MB."""


@dataclass(frozen=True)
class Peers:
    """One rank of several."""

    rank: int = 0
    """Number of this process, from 0."""
    number: int = 1
    """How many processes there are."""

    @classmethod
    def here(cls) -> Peers:
        """Return what this process is: a rank of a process group, or alone."""
        group = torch.distributed
        if not (group.is_available() and group.is_initialized()):
            return cls()
        return cls(group.get_rank(), group.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process does what is done once."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.number > 1

    def gathered(self, value: Value) -> list[Value]:
        """Return the value of every rank, in their order; each of them must ask."""
        if not self.are_several:
            return [value]
        values: list[Any] = [None] * self.number
        torch.distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until every rank is here."""
        self.gathered(None)

    def once(self, compute: Callable[[], Value]) -> Value:
        """Return what `compute` returns, called by the first rank alone; what it raises is raised in every rank."""
        if not self.are_several:
            return compute()
        found: list[Any] = [None, None]
        if self.is_first:
            try:
                found[0] = compute()
            except Exception as error:  # of any kind: it is raised again, so that no rank waits for the first
                found[1] = error
        torch.distributed.broadcast_object_list(found, src=0)
        if found[1] is not None:
            raise found[1]
        value: Value = found[0]
        return value

    def take_over(self, weights: Iterable[Tensor]) -> None:
        """Give weights the numbers that the first rank has, in place."""
        if self.are_several:
            for weight in weights:
                torch.distributed.broadcast(weight.data, src=0)

    def average_gradients(self, weights: Iterable[Parameter]) -> None:
        """Give each trained weight the mean gradient of all ranks, in place, summed in float32.

        A weight that has a gradient in no rank keeps none, as an optimiser moves weights with a gradient of 0 too.
        """
        if not self.are_several:
            return
        trained = [weight for weight in weights if weight.requires_grad]
        device = trained[0].device
        has = torch.tensor([weight.grad is not None for weight in trained], dtype=torch.int32, device=device)
        torch.distributed.all_reduce(has, op=torch.distributed.ReduceOp.MAX)
        used = [weight for weight, is_used in zip(trained, has.tolist(), strict=True) if is_used]
        for weight in used:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        for bucket in _buckets(weight.grad for weight in used if weight.grad is not None):
            flat = torch.cat([gradient.flatten().float() for gradient in bucket])
            torch.distributed.all_reduce(flat)
            flat /= self.number
            for gradient, part in zip(bucket, torch.split(flat, [one.numel() for one in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        bucket.append(gradient)
        size += gradient.numel()
        if size >= BUCKET_ELEMENTS:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket
