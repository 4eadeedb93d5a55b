"""Omitted work: the padding mask of causal models, and the last feed-forward layer outside of answers.

Neither changes a result, except by rounding.
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

FEED_FORWARD = "mlp"
"""The name of a block's feed-forward layer in nearly all families; in others it is computed for all tokens."""
TRIAL = "one two three"
"""Text of the trial."""
PADDING = 4
"""Tokens of padding behind it."""
CLOSE = 1e-2
"""Two outputs with at most this relative difference differ only by rounding, also in bfloat16."""


def needs_mask(learner: Learner) -> bool:
    """Return whether padding on the right changes a model's output for the tokens before it, as found in a short trial.

    In a causal model it does not, and attention without a mask costs half.
    """
    ids = learner.tokenizer(TRIAL, add_special_tokens=False, return_tensors="pt")["input_ids"].to(learner.device)
    padding = torch.full((1, PADDING), learner.tokenizer.pad_token_id, device=learner.device)
    decoder, outputs = base_model(learner.model).get_decoder(), []
    hook = decoder.register_forward_hook(lambda _, args, output: outputs.append(output.last_hidden_state))
    try:
        with torch.no_grad():
            for tokens in (ids, torch.cat([ids, padding], 1)):
                learner.model(input_ids=tokens, use_cache=False)
    finally:
        hook.remove()
    alone, padded = outputs[0].float(), outputs[1][:, : ids.shape[1]].float()
    return not bool((alone - padded).norm() <= CLOSE * alone.norm())


def without_mask(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a right-padded batch's inputs without its mask.

    Families whose tokens have types may let the first part of a sequence attend to all of it, padding included; they
    keep their mask.
    """
    has_types = any(name.endswith("token_type_ids") for name in inputs)
    return inputs if has_types else {name: value for name, value in inputs.items() if name != "attention_mask"}


def spare_last_feed_forward(learner: Learner, trace: Trace, layers: list[int]) -> list[RemovableHandle]:
    """Compute the last block's feed-forward layer at answer positions only; return the hooks.

    Only the head follows, which reads nothing else. Does nothing where the last block itself is measured.
    """
    blocks = decoder_blocks(learner.model)
    module = getattr(blocks[-1], FEED_FORWARD, None)
    if module is None or len(blocks) - 1 in layers or not _is_token_wise(module):
        return []

    def choose(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        assert trace.positions is not None, "set before each pass"
        return (args[0][trace.positions].unsqueeze(0), *args[1:])

    def put_back(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        assert trace.positions is not None, "set before each pass"
        whole = output.new_zeros(*trace.positions.shape, output.shape[-1])
        return whole.index_put((trace.positions,), output[0])

    return [module.register_forward_pre_hook(choose), module.register_forward_hook(put_back)]


def _is_token_wise(module: nn.Module) -> bool:
    """Return whether a layer consists of linear layers and functions without weights, which treat each token alone."""
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    return all(isinstance(leaf, nn.Linear | Conv1D) or not list(leaf.parameters()) for leaf in leaves)
