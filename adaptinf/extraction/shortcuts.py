"""Omitted work: the last feed-forward layer outside of answers.

It changes no result, except by rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from adaptinf.extraction.hooks import Trace
from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.loading import Learner
from adaptinf.models.passes import is_same
from adaptinf.models.structure import trial_ids

FEED_FORWARD = "mlp"
"""The name of a block's feed-forward layer in nearly all families; in others it is computed for all tokens."""


def spare_last_feed_forward(learner: Learner, trace: Trace, layers: list[int]) -> list[RemovableHandle]:
    """Compute the last block's feed-forward layer at answer positions only; return the hooks.

    Only the head follows, which reads nothing else. Does nothing where the last block itself is measured, or where a
    trial gives other hidden states.
    """
    blocks = decoder_blocks(learner.model)
    module = getattr(blocks[-1], FEED_FORWARD, None)
    if module is None or len(blocks) - 1 in layers or not _is_token_wise(module):
        return []

    def choose(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if trace.positions is None:
            return None
        return (args[0][trace.positions.to(args[0].device)].unsqueeze(0), *args[1:])

    def put_back(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if trace.positions is None:
            return None
        whole = output.new_zeros(*trace.positions.shape, output.shape[-1])
        return whole.index_put((trace.positions.to(output.device),), output[0])

    whole = _answers(learner, trace)
    hooks = [module.register_forward_pre_hook(choose), module.register_forward_hook(put_back)]
    spared = _answers(learner, trace)
    trace.clear(None)
    if whole is not None and spared is not None and is_same(whole, spared):
        return hooks
    for hook in hooks:
        hook.remove()
    return []


@torch.no_grad()
def _answers(learner: Learner, trace: Trace) -> Tensor | None:
    """Return what the head is given at some positions of a trial; None where the model fails."""
    ids = trial_ids(base_model(learner.model))
    positions = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
    positions[0, 1], positions[-1, 2:4] = True, True
    trace.clear(positions)
    try:
        learner.model(input_ids=ids, use_cache=False)
    except Exception:  # code of any architecture; a feed-forward layer may be called with more than the hidden states
        return None
    return trace.answers


def _is_token_wise(module: nn.Module) -> bool:
    """Return whether a layer consists of linear layers and functions without weights, which treat each token alone."""
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    return all(isinstance(leaf, nn.Linear | Conv1D) or not list(leaf.parameters()) for leaf in leaves)
