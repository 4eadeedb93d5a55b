"""`vector: neurons`: which neurons of the feed-forward layers an answer excites most, as MAGIC's skill signature.

The neurons of a block are the numbers that its feed-forward layer's last linear is given. They are averaged over the
answer tokens (Das Biswas & Roy 2026, arXiv 2605.26004, eq. 9); of four blocks between a quarter and five eighths of
the depth the 1, 1, 2 and 3 largest are kept (their App. A.3: blocks 8, 12, 16 and 20 of 32). The vector has a 1 for
each of them, folded to `dim` numbers. One forward pass. Not in the paper of Adapt-infinity; `magic_like` selects by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adaptinf.errors import ModelError
from adaptinf.extraction.hooks import Trace
from adaptinf.extraction.vectors.gradient import linear_shape
from adaptinf.extraction.vectors.interface import Passed, Rows, pooled, token_set
from adaptinf.models.blocks import decoder_blocks, input_use
from adaptinf.models.loading import Learner
from adaptinf.models.structure import linears_in

EIGHTHS = {2: 1, 3: 1, 4: 2, 5: 3}
"""Eighths of the depth at which blocks are looked at -> how many neurons of each are kept."""


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """Signatures; without a gradient, so without a gradient norm."""

    kept: Mapping[int, int]
    """Block -> how many of its neurons are kept."""
    modules: Mapping[int, nn.Module]
    """Block -> the linear that its neurons are given to."""
    folded: int
    """Numbers of a vector at most."""
    needs_gradient = False

    @property
    def dim(self) -> int:
        """As many as there are neurons, at most `folded`."""
        return min(sum(linear_shape(module)[0] for module in self.modules.values()), self.folded)

    @property
    def watched(self) -> list[int]:
        """None: the kind reads what linears are given."""
        return []

    def __call__(self, passed: Passed) -> Rows:
        """Return the batch's signatures."""
        answers = token_set("answer", passed.batch)
        vectors = torch.zeros(len(answers), self.dim, device=answers.device)
        offset = 0
        for block, count in self.kept.items():
            means_BF = pooled(passed.trace.neurons[block], answers)
            largest = means_BF.topk(count, dim=1).indices + offset
            vectors.scatter_(1, largest.to(vectors.device) % self.dim, 1.0)
            offset += means_BF.shape[1]
        return Rows(vectors, torch.full((len(vectors),), torch.nan, device=vectors.device))


def blocks_of_signature(num_blocks: int) -> dict[int, int]:
    """Return block number -> neurons that are kept of it, ascending; in a shallow model eighths share a block."""
    found: dict[int, int] = {}
    for eighths, count in EIGHTHS.items():
        number = min(num_blocks - 1, num_blocks * eighths // 8)
        found[number] = max(count, found.get(number, 0))
    return found


def make_neurons(learner: Learner, dim: int) -> Neurons:
    """Return the kind for a learner, with vectors of at most `dim` numbers.

    Raises:
        ModelError: a block has no feed-forward layer that all tokens pass.
    """
    kept = blocks_of_signature(len(decoder_blocks(learner.model)))
    found = {number: last_of_feed_forward(learner, number) for number in kept}
    return Neurons(kept=kept, modules=found, folded=dim)


@contextmanager
def reading(kind: Neurons, trace: Trace) -> Iterator[None]:
    """Record the neurons of each pass in the block; the hooks are removed on leaving."""

    def hook_of(number: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            trace.neurons[number] = trace.by_sample(args[0].detach(), f"{number} (feed-forward)")

        return hook

    hooks = [module.register_forward_pre_hook(hook_of(number)) for number, module in kind.modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def last_of_feed_forward(learner: Learner, number: int) -> nn.Module:
    """Return the linear that a block's neurons are given to.

    It is the one with the most inputs of those that give a number for each of the hidden state's, and has more inputs
    than that: so a block whose feed-forward layer consists of experts has none.

    Raises:
        ModelError: the block has none.
    """
    block = decoder_blocks(learner.model)[number]
    hidden_size = int(learner.model.config.get_text_config().hidden_size)
    found: list[tuple[int, nn.Module]] = []
    for name, module in linears_in(block).items():
        num_in, num_out = linear_shape(module)
        if num_out == hidden_size and num_in > hidden_size and input_use(learner.model, number, name) != "other":
            found.append((num_in, module))
    if not found:
        raise ModelError(
            f"extraction.vector: neurons finds no feed-forward layer that all tokens pass in block {number} of "
            f"{type(block).__name__}, as where it consists of experts; choose another vector"
        )
    return max(found, key=lambda one: one[0])[1]
