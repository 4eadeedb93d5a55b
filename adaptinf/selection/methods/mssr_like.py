"""MSSR-like: replays what has been trained on least, and longest ago (docs/selection.md#since-the-paper).

After Lu et al. 2026 (arXiv 2603.09892), of which only the abstract and summaries could be read. Theirs: each sample has
a memory strength, which decays over time as Ebbinghaus's forgetting curve does and rises when the sample is replayed;
the intervals between replays grow; samples of less strength are replayed rather. Ours: the numbers below, the draw in
proportion to what is forgotten, the share of the new dataset. Theirs also schedules replay within a training and looks
at losses; neither is done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.options import check_positive
from adaptinf.selection.replaying import divided, in_proportion


@selector("mssr_like")
@dataclass(frozen=True, kw_only=True)
class MssrLike:
    """The new dataset at random; of earlier ones, rather what few steps trained on, and long ago."""

    needs: ClassVar[frozenset[str]] = frozenset({"arrived", "history"})
    decay_steps: float = 1.0
    """Steps after which the strength of a sample that one step trained on has fallen to 1/e."""
    growth: float = 2.0
    """By how much every further step that trains on a sample multiplies that time: so intervals grow."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_positive("options.decay_steps", self.decay_steps)
        check_positive("options.growth", self.growth)

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return a draw of old samples in proportion to 1 - strength, without replacement, and one of new samples."""
        sides = divided(candidates, budget)
        forgotten = 1.0 - self.strengths(candidates)[sides.old]
        order = in_proportion(forgotten, candidates.keys("replay")[sides.old])
        return Choice(rows=np.concatenate([sides.old[order[: sides.num_old]], sides.new]))

    def strengths(self, candidates: Candidates) -> np.ndarray:
        """Return N strengths, exp(-t / (decay_steps * growth^(n-1))).

        t counts the steps since the last of the n that trained on the sample; 0 for one that none trained on.
        """
        history = candidates.history
        assert history is not None
        num_N, last_N = history.num_trained, history.last_trained
        now = candidates.current_step
        if now is None:
            now = int(history.steps.max(initial=-1)) + 1
        # A float may not hold the time of a sample that a thousand steps trained on; one of 1e300 steps is for ever.
        log_time = np.log(self.decay_steps) + (num_N - 1) * np.log(self.growth)
        time_N = np.exp(np.clip(log_time, -600, 600))
        return np.where(num_N > 0, np.exp(-(now - last_N) / time_N), 0.0)
