"""Executors: where the shards of a stage are worked on, in this process or in others.

A stage hands over work, a small picklable description of what a worker needs (which model, which samples), and shards.
An executor opens the work once in each of its workers and calls a function on every shard there; the results come back
in the order of the shards. Which executor did it changes no result.
"""

from adaptinf.executors.interface import Executor, Work, Workers, make_executor, num_workers, watched
from adaptinf.executors.local import LocalExecutor
from adaptinf.executors.losses import LostShard, named_losses
from adaptinf.executors.shown import Shown

__all__ = [
    "Executor",
    "LocalExecutor",
    "LostShard",
    "Shown",
    "Work",
    "Workers",
    "make_executor",
    "named_losses",
    "num_workers",
    "watched",
]
