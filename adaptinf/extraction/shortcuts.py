"""Omitted work: the padding mask of causal models, and the last feed-forward layer outside of answers.

Neither changes a result, except by rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from adaptinf.errors import ModelError
from adaptinf.extraction.hooks import Trace
from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.chat import Encoded, encode
from adaptinf.models.loading import Learner
from adaptinf.models.passes import is_same, last_hidden
from adaptinf.models.samples import trial_images, trial_sample
from adaptinf.models.structure import trial_ids

FEED_FORWARD = "mlp"
"""The name of a block's feed-forward layer in nearly all families; in others it is computed for all tokens."""


def needs_mask(learner: Learner) -> bool:
    """Return whether a model's hidden states change when the mask of a padded batch is left out, as found in a trial.

    In a causal model they do not, and attention without a mask costs half. Text and images are tried, since some models
    place the tokens of an image by the mask. Where a trial is not possible, the mask is kept.
    """
    try:
        found = [_is_same_without_mask(learner, batch) for batch in list(_trial_batches(learner))]
        return not (found and all(found))
    except ModelError:
        raise
    except Exception:  # code of any architecture, without a mask that it may ask for
        return True


def _trial_batches(learner: Learner) -> Iterator[Encoded]:
    """Yield padded batches of two: of text, and of conversations about an image if the model takes them.

    What the processor refuses, as text without an image, is left out.
    """
    for num_images in (0, 1) if learner.has_vision else (0,):
        samples = [trial_sample(num_words, num_images) for num_words in (2, 9)]
        with suppress(ModelError):
            yield encode(learner, samples, [trial_images(num_images)] * len(samples)).to(learner)


def _is_same_without_mask(learner: Learner, batch: Encoded) -> bool:
    is_token = batch.inputs["attention_mask"].bool()
    masked, bare = (last_hidden(learner, inputs) for inputs in (batch.inputs, without_mask(batch.inputs)))
    pairs = zip(masked, bare, is_token, strict=True)
    return all(is_same(one[own], other[own]) for one, other, own in pairs)


def without_mask(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a right-padded batch's inputs without its mask.

    Families whose tokens have types may let the first part of a sequence attend to all of it, padding included; they
    keep their mask.
    """
    has_types = any(name.endswith("token_type_ids") for name in inputs)
    return inputs if has_types else {name: value for name, value in inputs.items() if name != "attention_mask"}


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
        return None if trace.positions is None else (args[0][trace.positions].unsqueeze(0), *args[1:])

    def put_back(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if trace.positions is None:
            return None
        whole = output.new_zeros(*trace.positions.shape, output.shape[-1])
        return whole.index_put((trace.positions,), output[0])

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
