"""Greedy answers of many prompts, as plain `generate` gives them one by one, and faster.

Rows that have finished leave the batch (`rows`), waiting prompts join it (`joining`), and what prompts begin with in
common is read once (`prefix`). Which of this a model's cache allows is found by comparing with `generate` (`trial`).
"""

from adaptinf.models.decoding.loop import Prompted, Task, Watch, Written, decode
from adaptinf.models.decoding.near_ties import NearTies
from adaptinf.models.decoding.stretching import stretches_at
from adaptinf.models.decoding.trial import SHORT, find_way
from adaptinf.models.decoding.ways import ALONE, WAYS, Way

__all__ = [
    "ALONE",
    "SHORT",
    "WAYS",
    "NearTies",
    "Prompted",
    "Task",
    "Watch",
    "Way",
    "Written",
    "decode",
    "find_way",
    "stretches_at",
]
