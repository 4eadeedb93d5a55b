"""Which way of decoding gives what plain `generate` gives one prompt at a time, found by trying with real prompts."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from adaptinf.errors import AdaptError
from adaptinf.models.decoding.loop import Task, decode
from adaptinf.models.decoding.ways import ALONE, WAYS, WHOLE, Way
from adaptinf.models.mixing import ROUNDING_TIMES
from adaptinf.models.passes import ROUNDING

logger = logging.getLogger(__name__)

TRIED_TOKENS = (2, 4, 3, 4)
"""Tokens that are written to each prompt of a trial, so that rows leave and others join at different times."""
TRIED_WIDTH = 2
"""Rows at once in a trial."""


SHORT = 4
"""Tokens of the longest answer below which rows hardly differ in when they end: whole batches are as fast."""
POSSIBLE = 50.0
"""A word whose logit is so far below the largest one is never written."""


@dataclass
class _Seen:
    """The logits of each row, one after another."""

    logits: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))

    def __call__(self, numbers: Sequence[int], logits: Tensor) -> None:
        for number, row in zip(numbers, logits, strict=True):
            self.logits[number].append(row)


def find_way(task: Task, numbers: Sequence[int]) -> Way:
    """Return the fastest way whose answers to some prompts are those of plain `generate` one by one, rounding apart.

    Of fewer than two prompts that is plain `generate` itself; of answers below SHORT tokens whole batches, if they are
    right.

    Args:
        task: the prompts; its way is not looked at.
        numbers: the prompts to try, at most as many as there are TRIED_TOKENS.
    """
    alone = dict(_alone(task, numbers)) if len(numbers) > 1 else {}
    if len(alone) < 2:
        return WHOLE
    limits = dict(zip(alone, TRIED_TOKENS, strict=False))
    is_short = max(task.limits.values()) < SHORT
    for way in [WHOLE] if is_short else WAYS[:-1]:
        tried = replace(task, way=way, limits=limits, width=TRIED_WIDTH, ends=frozenset(), min_shared=1)
        try:
            found = _whole(tried, list(alone)) if way == WHOLE else _by_way(tried, list(alone))
        except AdaptError:
            raise
        except Exception as error:  # code of any architecture; that it fails is what is tried here
            logger.debug("decoding %s: %s", way.name, error)
            continue
        if all(_is_same(alone[number], found[number], task.model.dtype) for number in alone):
            return way
        logger.debug("decoding %s: other logits than alone", way.name)
    return ALONE


def _alone(task: Task, numbers: Sequence[int]) -> Iterator[tuple[int, list[Tensor]]]:
    """Yield the logits of each prompt alone, of those that the model answers."""
    tokens = min(max(TRIED_TOKENS), max(task.limits.values()))
    for number in numbers:
        try:
            yield number, _whole(replace(task, ends=frozenset(), limits={number: tokens}), [number])[number]
        except AdaptError:
            raise
        except Exception as error:  # as in `find_way`; the item is named when it is asked
            logger.debug("decoding alone: %s", error)


def _whole(task: Task, numbers: Sequence[int]) -> dict[int, list[Tensor]]:
    """Return the logits of plain `generate`, in one batch, of those prompts that can be asked."""
    prompted = task.prompts(numbers)
    if prompted.inputs is None:
        raise ValueError("none of the prompts can be asked")
    output = task.model.generate(
        **prompted.inputs,
        max_new_tokens=max(task.limits.values()),
        do_sample=False,
        pad_token_id=task.pad,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return {number: [step[row].float() for step in output.logits] for row, number in enumerate(prompted.numbers)}


def _by_way(task: Task, numbers: Sequence[int]) -> dict[int, list[Tensor]]:
    seen = _Seen()
    list(decode(task, numbers, seen))
    return seen.logits


def _is_same(alone: list[Tensor], found: list[Tensor], dtype: torch.dtype) -> bool:
    """Return whether logits differ by rounding only, as far as the same tokens were chosen before."""
    if not found:
        return False
    bound = ROUNDING_TIMES * ROUNDING.get(dtype, 1e-2)
    for wanted, given in zip(alone, found, strict=False):
        # Words that a model rules out have logits of any size.
        one, other = (logits.clamp(min=float(wanted.max()) - POSSIBLE) for logits in (wanted, given))
        if not (one - other).norm() <= bound * one.norm():
            return False
        if one.argmax() != other.argmax():
            break  # a tie, after which the texts are different ones
    return True
