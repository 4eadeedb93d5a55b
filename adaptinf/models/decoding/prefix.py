"""What prompts begin with in common, such as the instructions of a task: the model reads it once for all of them.

The rows are [the common part, padding, the rest], so this is exact for the models whose rows can be joined.

Shapes: B rows, S tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from adaptinf.models.decoding.joining import PER_TOKEN, NotJoinable, check_plain
from adaptinf.models.decoding.rows import Rows, read_prompts

MIN_SHARED = 16
"""Tokens in common below which reading them twice is cheaper than a pass of their own."""


def shared_length(inputs: Mapping[str, Tensor], images: Collection[int]) -> int:
    """Return the number of tokens that all rows of a left-padded batch begin with; at least one stays for each row.

    Args:
        inputs: the batch.
        images: ids of tokens that stand for images, of which nothing is shared.
    """
    rows = [ids[own.bool()] for ids, own in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    most = min(map(len, rows)) - 1
    first = rows[0][:most]
    is_shared = torch.stack([row[:most] == first for row in rows]).all(0)
    known = torch.tensor(sorted(images), dtype=first.dtype, device=first.device)
    return int((is_shared & ~torch.isin(first, known)).int().cumprod(0).sum())


def read_sharing(
    model: Any, inputs: Mapping[str, Tensor], numbers: Sequence[int], *, length: int, limit: int, pad: int | None
) -> Rows:
    """Return the rows of a batch, as `read_prompts`, of which the first `length` tokens are read once.

    Raises:
        NotJoinable: the model does not read like this.
    """
    shape = inputs["input_ids"].shape
    own = {name: value for name, value in inputs.items() if value.shape[:2] == shape}
    if not own.keys() <= {"input_ids", *PER_TOKEN}:
        raise NotJoinable(f"the model reads {', '.join(sorted(own.keys() - set(PER_TOKEN)))} with each token")
    moved = {name: _prefix_first(value, inputs["attention_mask"], length) for name, value in own.items()}
    first = {name: value[:1, :length] for name, value in moved.items()}
    common = read_prompts(model, first, (0,), limit=limit, pad=pad)
    check_plain(common)
    cache = common.cache
    cache.batch_repeat_interleave(shape[0])
    return read_prompts(model, {**inputs, **moved}, numbers, limit=limit, pad=pad, cache=cache)


def _prefix_first(value: Tensor, mask: Tensor, length: int) -> Tensor:
    """Return rows whose first `length` tokens stand before their padding."""
    padding = (mask == 0).sum(1).tolist()
    return torch.stack(
        [
            torch.cat([row[count : count + length], row[:count], row[count + length :]])
            for row, count in zip(value, padding, strict=True)
        ]
    )
