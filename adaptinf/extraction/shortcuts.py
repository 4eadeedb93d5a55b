"""Work that no result needs: a mask where causality masks already, the last feed-forward layer outside of answers.

Both leave every number that is read as it was, up to rounding.
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
"""What nearly all families call a block's feed-forward layer; in others nothing is spared."""
TRIAL = "one two three"
"""Text of the trial."""
PADDING = 4
"""Tokens of padding behind it."""
CLOSE = 1e-2
"""Relative difference up to which two outputs are the same but for rounding, in bfloat16 too."""


def needs_mask(learner: Learner) -> bool:
    """Tell whether padding on the right changes what a model says about the tokens before it; one short trial tells.

    To a causal model it does not, and without a mask attention costs half.
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

    Where tokens have types, some families let the first part of a sequence see all of it, padding included; those
    keep their mask.
    """
    has_types = any(name.endswith("token_type_ids") for name in inputs)
    return inputs if has_types else {name: value for name, value in inputs.items() if name != "attention_mask"}


def spare_last_feed_forward(learner: Learner, trace: Trace, layers: list[int]) -> list[RemovableHandle]:
    """Let the last block's feed-forward layer see answer positions only; return the hooks.

    Above it only the head follows, which reads nothing else. Not where the last block is measured itself.
    """
    blocks = decoder_blocks(learner.model)
    module = getattr(blocks[-1], FEED_FORWARD, None)
    if module is None or len(blocks) - 1 in layers or not _is_token_wise(module):
        return []

    def choose(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        assert trace.positions is not None, "a pass says where its answers are"
        return (args[0][trace.positions].unsqueeze(0), *args[1:])

    def put_back(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        assert trace.positions is not None, "a pass says where its answers are"
        whole = output.new_zeros(*trace.positions.shape, output.shape[-1])
        return whole.index_put((trace.positions,), output[0])

    return [module.register_forward_pre_hook(choose), module.register_forward_hook(put_back)]


def _is_token_wise(module: nn.Module) -> bool:
    """Tell whether a layer is made of linear ones and functions without weights, so that tokens do not meet in it."""
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    return all(isinstance(leaf, nn.Linear | Conv1D) or not list(leaf.parameters()) for leaf in leaves)
