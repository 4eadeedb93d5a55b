"""`batch_tokens: auto`: how many tokens fit into an accelerator's memory, found by measuring a few samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from adaptinf.data import Sample
from adaptinf.errors import AdaptError
from adaptinf.extraction.batches import Preparer
from adaptinf.extraction.meter import Meter
from adaptinf.models.lengths import AUTO_BATCH_TOKENS, auto_batch_tokens
from adaptinf.models.memory import is_out_of_memory
from adaptinf.models.spread import devices_of

TRIAL_ROWS = 8
"""Samples in the larger of two trial batches: the longest of the pool."""
MEMORY_SHARE = 0.8
"""Share of the free memory that batches may take: lengths are estimates, and allocators fragment."""
MAX_BATCH_TOKENS = 65_536
"""Larger batches are not faster."""


def fitting_batch_tokens(
    ready: Meter, samples: Sequence[Sample], lengths: np.ndarray, kinds: np.ndarray | None = None
) -> int:
    """Return the tokens of a batch: a fixed number on a CPU, what fits on a GPU.

    Samples of one kind are measured together, where only these may share a batch (`kinds`, N numbers).

    Always a power of two, so that a little more or less free memory does not change the plan.
    """
    devices = devices_of(ready.learner.model)
    if devices[0].type != "cuda" or not len(samples):
        return auto_batch_tokens(devices[0])
    free = [_free_bytes(device) for device in devices]
    with Preparer(ready.learner, samples, image=ready.config.image) as preparer:

        @cache
        def peaks(rows: tuple[int, ...]) -> list[int]:
            (prepared,) = preparer.prepared([rows])
            before = [torch.cuda.memory_allocated(device) for device in devices]
            for device in devices:
                torch.cuda.reset_peak_memory_stats(device)
            if prepared.rows:
                ready.measure(prepared)
            ready.trace.clear(None)
            pairs = zip(devices, before, strict=True)
            return [torch.cuda.max_memory_allocated(device) - bytes_before for device, bytes_before in pairs]

        def fitting(number: int) -> int:
            share = int(MEMORY_SHARE * free[number])
            return fitting_tokens(lengths, lambda rows: peaks(tuple(rows))[number], share)

        if kinds is not None:
            lengths = np.where(kinds == kinds[np.argmax(lengths)], lengths, 0)
        # Of a model that is spread over several GPUs, the one that is full first decides.
        return min(map(fitting, range(len(devices))))


def _free_bytes(device: torch.device) -> int:
    """Return the bytes of a GPU that are free or cached by torch."""
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


def tokens_per_batch(
    ready: Meter, samples: Sequence[Sample], lengths: np.ndarray, kinds: np.ndarray | None = None
) -> int:
    """Return the tokens of a batch: those of the settings, or found by `fitting_batch_tokens`."""
    wanted = ready.config.batch_tokens
    return fitting_batch_tokens(ready, samples, lengths, kinds) if wanted == "auto" else wanted


def fitting_tokens(lengths: np.ndarray, peak_bytes: Callable[[Sequence[int]], int], free: int) -> int:
    """Return the largest power of two of padded tokens whose batch takes `free` bytes at most, at least 1.

    Memory is taken to grow linearly with tokens, from the longest sample alone to TRIAL_ROWS of the longest.

    Args:
        lengths: N estimated tokens; 0: not to be measured.
        peak_bytes: measures a batch of row numbers and returns the bytes that it took.
        free: bytes.
    """
    longest = [row for row in np.argsort(-lengths, kind="stable")[:TRIAL_ROWS].tolist() if lengths[row] > 0] or [0]
    top = max(1, int(lengths[longest[0]]))
    try:
        alone, together = peak_bytes(longest[:1]), peak_bytes(longest)
    except AdaptError:
        raise
    except Exception as error:  # a model is a program of its authors: it can raise anything
        # One long sample at a time; one that fails even so is named when it is measured.
        return _power_of_two(top) if is_out_of_memory(error) else AUTO_BATCH_TOKENS["cuda"]
    a_token = max(1.0, (together - alone) / (top * max(1, len(longest) - 1)))
    fixed = max(0.0, alone - a_token * top)
    return min(MAX_BATCH_TOKENS, _power_of_two(int((free - fixed) / a_token)))


def _power_of_two(number: int) -> int:
    return 1 << max(0, number.bit_length() - 1) if number > 0 else 1
