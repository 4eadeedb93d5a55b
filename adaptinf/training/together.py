"""What the ranks of a training do at each optimiser step beside computing: one process is a single rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import TrainerCallback

from adaptinf.data import Sample
from adaptinf.distributed.peers import Peers
from adaptinf.models.loading import Learner
from adaptinf.training.batches import MicroBatches
from adaptinf.training.estimates import Estimates
from adaptinf.training.order import Order
from adaptinf.words import counted


def never() -> bool:
    """Return that nobody wants the training to stop."""
    return False


def sharing_line(order: Order, number: int) -> str:
    """Return how an optimiser step is shared out among devices, in a line."""
    count = order.micro_batches_per_step
    idle = -count % number
    rest = f"; {idle} of {number} devices have none in the last turn" if idle else ""
    noun = "micro-batch" if count == 1 else "micro-batches"
    size = counted(order.micro_batch_size, "sample")
    return f"training on {number} devices: {count:,} {noun} of {size} per optimiser step{rest}"


def shared_lengths(samples: Sequence[Sample], learner: Learner, peers: Peers) -> np.ndarray | None:
    """Return the estimated tokens of every sample, int64, each estimated by one rank for all of them.

    None for a process by itself, which estimates as it goes.
    """
    if not peers.are_several:
        return None
    estimate = Estimates(learner)
    own = [int(estimate([samples[row]])[0]) for row in range(peers.rank, len(samples), peers.number)]
    lengths = np.empty(len(samples), np.int64)
    for rank, found in enumerate(peers.gathered(own)):
        lengths[rank :: peers.number] = found
    return lengths


def differing_line(learner: Learner, peers: Peers) -> str | None:
    """Return a line if the weights of the ranks are not the same ones at the end; each of them must ask."""
    if not peers.are_several or len(set(peers.gathered(learner.fingerprint))) == 1:
        return None
    return (
        "warning: the devices ended with weights that differ, as they do where devices of several kinds round "
        "differently; those of the first one are saved"
    )


@dataclass(eq=False)
class StopRequest:
    """Whether a training is to save what it has and to end."""

    is_asked_elsewhere: Callable[[], bool] = never
    """Asked at the end of each optimiser step, beside this process's own SIGTERM."""
    is_asked: bool = False

    def ask(self) -> None:
        """Have the training end after the optimiser step that is under way."""
        self.is_asked = True

    def __bool__(self) -> bool:
        return self.is_asked or self.is_asked_elsewhere()


class Together(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Begins with the same weights in all ranks; at each step all learn what one left out, and whether to stop."""

    def __init__(self, peers: Peers, micro_batches: MicroBatches, stop: StopRequest, *, is_sharded: bool) -> None:
        self.peers = peers
        self.micro_batches = micro_batches
        self.stop = stop
        self.is_sharded = is_sharded

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take over the weights of the first rank, those of a checkpoint too."""
        if not self.is_sharded:
            self.peers.take_over(weight for weight in model.parameters() if weight.requires_grad)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Exchange what the step left out; save and stop where any rank is asked to, but not after the last step.

        Raises:
            DataError: the images of many consecutive samples cannot be opened.
            ModelError: too many samples that the model cannot use.
        """
        ours = self.peers.gathered((self.micro_batches.taken(), bool(self.stop)))
        self.micro_batches.record([outcomes for outcomes, _ in ours])
        self.stop.is_asked = any(asked for _, asked in ours)
        if self.stop.is_asked and state.global_step < state.max_steps:
            control.should_log = control.should_save = control.should_training_stop = True
