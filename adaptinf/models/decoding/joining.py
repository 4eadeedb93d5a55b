"""Two batches of rows become one: the shorter one is padded on the left, in its cache too.

This is exact where each layer of the cache holds all keys and values, which the mask hides one by one. A layer with a
window or a running state would count the padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import DynamicCache, DynamicLayer

from adaptinf.models.decoding.rows import Rows

PER_TOKEN = ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")
"""Inputs that have one number per token, the last axis."""


class NotJoinable(Exception):
    """The rows of this model have more than keys, values and numbers per token; the reason is the message."""


def check_plain(rows: Rows) -> None:
    """Check that padding on the left changes nothing for these rows.

    Raises:
        NotJoinable: the cache holds something else than all keys and values, or an input is not one number per token.
    """
    cache = rows.cache
    kinds = {type(layer) for layer in cache.layers} if type(cache) is DynamicCache else {type(cache)}
    if kinds != {DynamicLayer}:
        raise NotJoinable(f"the cache has {', '.join(sorted(kind.__name__ for kind in kinds))}")
    other = [
        name
        for name, value in rows.inputs.items()
        if isinstance(value, Tensor) and name not in PER_TOKEN and value.dim() > 0
    ]
    if other:
        raise NotJoinable(f"the model reads {', '.join(other)} with each token")


def joined(one: Rows, other: Rows) -> Rows:
    """Return two batches as one; the cache of the first becomes that of both, columns of padding alone are cut off.

    Raises:
        NotJoinable: as `check_plain`.
    """
    for rows in (one, other):
        check_plain(rows)
    length = max(one.tokens.shape[1], other.tokens.shape[1])
    masks = [_padded(_mask(rows), length + 1) for rows in (one, other)]
    mask = torch.cat(masks)
    # What is padding in all rows, since the longest ones have left.
    cut = int(mask.bool().any(0).int().argmax())
    inputs = {name: value for name, value in one.inputs.items() if name not in PER_TOKEN}
    for name in PER_TOKEN[1:]:
        values = [rows.inputs.get(name) for rows in (one, other)]
        if all(value is not None for value in values):
            inputs[name] = _stacked(one, other, name, length + 1)[..., cut:]
        elif any(value is not None for value in values):
            raise NotJoinable(f"only some rows have {name}")
    inputs["attention_mask"] = mask[:, cut:]
    for mine, theirs in zip(one.cache.layers, other.cache.layers, strict=True):
        _join_layer(mine, theirs, length, cut)
    tokens = [_padded(rows.tokens, length) for rows in (one, other)]
    return Rows(
        model=one.model,
        numbers=one.numbers + other.numbers,
        tokens=torch.cat(tokens)[:, cut:],
        inputs=inputs,
        logits=torch.cat([one.logits, other.logits]),
    )


def _mask(rows: Rows) -> Tensor:
    """Return the mask with the next token's place, as the model's methods keep it; without padding they have none."""
    mask = rows.inputs.get("attention_mask")
    if mask is None:
        return rows.tokens.new_ones((len(rows), rows.tokens.shape[1] + 1))
    return torch.as_tensor(mask)


def _stacked(one: Rows, other: Rows, name: str, length: int) -> Tensor:
    values = []
    for rows in (one, other):
        value = rows.inputs[name]
        if value.dim() > 1 and value.shape[-2] == 1:
            value = value.expand(*value.shape[:-2], len(rows), value.shape[-1])
        values.append(_padded(value, length))
    if len({value.dim() for value in values}) > 1:
        raise NotJoinable(f"{name} has several shapes")
    return torch.cat(values, dim=-2)


def _padded(value: Tensor, length: int) -> Tensor:
    """Return numbers per token with zeros before them, `length` in all; what pads tokens is never looked at."""
    return functional.pad(value, (length - value.shape[-1], 0))


def _join_layer(mine: Any, theirs: Any, length: int, cut: int) -> None:
    """Put the keys and values of a layer behind those of another one of the same number."""
    if mine.is_initialized != theirs.is_initialized:
        raise NotJoinable("only some rows have used a layer of the cache")
    if mine.is_initialized:
        for name in ("keys", "values"):
            both = [getattr(layer, name) for layer in (mine, theirs)]
            padded = [functional.pad(value, (0, 0, length - value.shape[-2], 0)) for value in both]
            setattr(mine, name, torch.cat(padded)[..., cut:, :])
