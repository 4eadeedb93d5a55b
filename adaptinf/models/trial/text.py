"""Tokens: ids within the embedding, positions within the model, images and ends that can be told apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from adaptinf.models.blocks import base_model
from adaptinf.models.chat import encode, traits_of
from adaptinf.models.loading import Learner, embedding_rows
from adaptinf.models.samples import trial_images, trial_sample
from adaptinf.models.structure import TRIAL_SHAPE, trial_ids
from adaptinf.models.trial.attention import conversations
from adaptinf.models.trial.findings import Finding


def token_ids(learner: Learner) -> Finding:
    """Compare the largest id of the tokenizer with the rows of the embedding; loading has refused a larger one."""
    largest, rows = max(learner.tokenizer.get_vocab().values()), embedding_rows(learner.model)
    is_good = not rows or largest < rows
    return Finding(
        name="token ids",
        seen=f"ids up to {largest:,}, the embedding has {rows:,} rows",
        is_good=is_good,
        way_out="" if is_good else "resize the embedding, or use the tokenizer that the model came with",
    )


def positions(learner: Learner) -> Finding | None:
    """Compare `max_length` with the positions that the model has; beyond a learnt table it would fail."""
    model, wanted = base_model(learner.model), learner.config.max_length
    learnt = _learnt_positions(model)
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if learnt is not None:
        is_good = wanted <= learnt
        way_out = "" if is_good else f"set model.max_length to {learnt} at most"
        seen = f"model.max_length={wanted:,}, the model has learnt {learnt:,} positions"
        return Finding(name="positions", seen=seen, is_good=is_good, way_out=way_out)
    if not isinstance(stated, int) or stated <= 0:
        return None
    note = "" if wanted <= stated else "longer samples are read beyond what it was trained for; lower model.max_length"
    seen = f"model.max_length={wanted:,}, the model is made for {stated:,} positions"
    return Finding(name="positions", seen=seen, is_good=True, way_out=note)


def _learnt_positions(model: Any) -> int | None:
    """Return the tokens that a table of positions has rows for; None where the model has no such table.

    Of a table of positions, as many rows in succession have a gradient as a text has tokens.
    """
    embedding = model.get_input_embeddings()
    tables = [
        module.weight for module in model.modules() if isinstance(module, nn.Embedding) and module is not embedding
    ]
    if not tables:
        return None
    before = [table.requires_grad for table in tables]
    try:
        for table in tables:
            table.requires_grad_(True)
        logits = model(input_ids=trial_ids(model), use_cache=False).logits.float().square().sum()
        found = torch.autograd.grad(logits, tables, allow_unused=True) if logits.requires_grad else [None] * len(tables)
    finally:
        for table, was in zip(tables, before, strict=True):
            table.requires_grad_(was)
    used = [(table, gradient.any(1).nonzero().flatten()) for table, gradient in zip(tables, found, strict=True)
            if gradient is not None]  # fmt: skip
    sizes = [
        len(table) - int(rows[0])
        for table, rows in used
        if len(rows) == TRIAL_SHAPE[1] and bool((rows.diff() == 1).all())
    ]
    return min(sizes, default=None)


def end_token(learner: Learner) -> Finding:
    """Look whether an answer's labels end with a token that ends it; without one the model does not learn to stop."""
    traits = traits_of(learner)
    for _, batch in conversations(learner):
        learnt = batch.labels[0][batch.labels[0] >= 0].tolist()
        if learnt and learnt[-1] in traits.ends:
            text = learner.tokenizer.decode([learnt[-1]])
            return Finding(name="end token", seen=f"answers end with {text!r}, which is learnt", is_good=True)
    return Finding(
        name="end token",
        seen="answers end without an end token",
        is_good=True,
        way_out="the model does not learn to stop; put its end token behind the answer in chat_template.jinja",
    )


def image_tokens(learner: Learner) -> Finding | None:
    """Look for the tokens of an image, which a cut at `max_length` must not go through."""
    if not learner.has_vision:
        return None
    batch = encode(learner, [trial_sample(1, 1)], [trial_images(1)])
    count = int(batch.is_image.sum())
    return Finding(
        name="image tokens",
        seen=f"an image of 336 x 336 has {count:,} tokens",
        is_good=count > 0,
        way_out="" if count else "its place in the text is not found; use another version of transformers",
    )
