"""Rows of a batch that are being continued: reading the prompts, one more token of each, and rows that leave.

The model's own methods prepare its inputs, as in `generate`, so that positions, masks, images and the cache are what
its authors made them.

Shapes: B rows, S tokens so far, V words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.generation import utils

CACHES = ("past_key_values", "cache_params")
"""The names under which models take their cache."""
DROPPED = ("pixel_", "image_", "video_", *getattr(utils, "MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL", ()))
"""Beginnings of the names of inputs that are read with the prompt only."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows that are continued together; B rows."""

    model: Any
    """The model that generates (Any: of any architecture)."""
    numbers: tuple[int, ...]
    """B numbers of the prompts, the caller's."""
    tokens: Tensor
    """B x S: the prompt and what has been written, padded on the left."""
    inputs: dict[str, Any]
    """What else the forward pass takes: cache, mask, positions (Any: of any kind)."""
    logits: Tensor
    """B x V float32: those of the next token."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def cache(self) -> Any:
        """The cache; None where the model has none."""
        return next((self.inputs[name] for name in CACHES if self.inputs.get(name) is not None), None)


def read_prompts(
    model: Any, inputs: Mapping[str, Any], numbers: Sequence[int], *, limit: int, pad: int | None, cache: Any = None
) -> Rows:
    """Return the rows of a left-padded batch of prompts, read by the model.

    Args:
        model: it generates by itself.
        inputs: as the model's `generate` takes them.
        numbers: the caller's number of each row.
        limit: largest number of tokens that will be written.
        pad: id of the padding token.
        cache: of the first tokens of all rows; None: nothing has been read.
    """
    more = {} if cache is None else {"past_key_values": cache}
    # `generate` prepares everything and then calls this function where it would decode.
    rows: Rows = model.generate(
        **inputs, **more, custom_generate=_read, max_new_tokens=limit, do_sample=False, pad_token_id=pad
    )
    return Rows(model=rows.model, numbers=tuple(numbers), tokens=rows.tokens, inputs=rows.inputs, logits=rows.logits)


def _read(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    synced_gpus: bool = False,
    streamer: Any = None,
    **inputs: Any,
) -> Rows:
    """Read the prompts; the arguments are those of transformers' own decoding methods."""
    output = model._prefill(input_ids, generation_config, inputs)
    inputs = model._update_model_kwargs_for_generation(output, inputs, is_encoder_decoder=False)
    kept = {name: value for name, value in inputs.items() if not name.startswith(DROPPED)}
    return Rows(model=model, numbers=(), tokens=input_ids, inputs=kept, logits=_next_logits(output, input_ids))


def continued(rows: Rows, chosen: Tensor) -> Rows:
    """Return the rows with one more token each; the cache is changed in place.

    Args:
        rows: as they are.
        chosen: B tokens.
    """
    tokens = torch.cat([rows.tokens, chosen[:, None]], dim=1)
    length = 1 if rows.inputs.get("use_cache", True) else None
    given = rows.model.prepare_inputs_for_generation(tokens, next_sequence_length=length, **rows.inputs)
    output = rows.model(**given, return_dict=True)
    inputs = rows.model._update_model_kwargs_for_generation(output, rows.inputs, is_encoder_decoder=False)
    return Rows(
        model=rows.model, numbers=rows.numbers, tokens=tokens, inputs=inputs, logits=_next_logits(output, tokens)
    )


def _next_logits(output: Any, tokens: Tensor) -> Tensor:
    # A copy, as the prompt's logits would stay in memory otherwise; in the type that `generate` compares them in.
    logits: Tensor = output.logits[:, -1].to(copy=True, dtype=torch.float32, device=tokens.device)
    return logits


def kept_rows(rows: Rows, places: Sequence[int]) -> Rows:
    """Return some of the rows; the others leave the cache, which is changed in place.

    Args:
        rows: as they are.
        places: which ones stay, from 0 to B - 1.
    """
    index = torch.tensor(list(places), device=rows.tokens.device)
    if rows.cache is not None:
        rows.cache.reorder_cache(index)
    return Rows(
        model=rows.model,
        numbers=tuple(rows.numbers[place] for place in places),
        tokens=rows.tokens[index],
        inputs={name: _picked(name, value, index, len(rows)) for name, value in rows.inputs.items()},
        logits=rows.logits[index],
    )


def _picked(name: str, value: Any, index: Tensor, num_rows: int) -> Any:
    """Return what an input is for some of the rows; positions have the rows before the last axis, others first."""
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    axis = value.dim() - 2 if name == "position_ids" else 0
    if value.shape[axis] != num_rows:
        return value
    return value.index_select(axis, index.to(value.device))
