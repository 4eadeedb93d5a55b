"""OASIS-like: what is informative beside all seen before, and not yet in its batch (docs/selection.md#since-the-paper).

After Lee et al. 2025 (arXiv 2506.02011), of which the abstract and summaries could be read, not the equations. Theirs:
a sample's informativeness is the Fisher information of its last-layer gradient; it is standardised by a moving mean
and a moving variance over the batches of the stream; in a batch each chosen sample lowers the score of those whose
gradients are like its own; a sample is taken with the probability of a sigmoid of score - threshold. Ours: the squared
norm of the measured block's gradient (`grand`), the constants below, the sum of positive cosines as the reduction, and
the threshold for which exactly the budget is taken. Within a step the pool is a stream in seeded order; the moving
statistics begin with those of the step before.

Shapes: N candidates, n samples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.arrays.tiles import tied, unit_rows
from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.entropy import within_unit
from adaptinf.selection.interface import Candidates, Choice
from adaptinf.selection.methods.multiway import check_scores
from adaptinf.selection.options import check_positive
from adaptinf.selection.replaying import uniform

NORM = "grand"
"""The score whose square stands for the trace of the Fisher information."""
BATCH_SIZE = 64
"""Samples among which redundancy is looked for."""
MOVING_SHARE = 0.1
"""Weight of a batch in the moving statistics."""


@selector("oasis_like")
@dataclass(frozen=True, kw_only=True)
class OasisLike:
    """By the size of the gradient beside all seen before, less what gradients of the same batch share; drawn."""

    needs: ClassVar[frozenset[str]] = frozenset({"scores", "vectors", "history"})
    history_scores: ClassVar[tuple[str, ...]] = (NORM,)
    # Gradients of an earlier model have other sizes.
    needs_same_step: ClassVar[bool] = True
    auto_settings: ClassVar[Mapping[str, object]] = {
        "extraction.vector": "gradient",
        "extraction.image": "unmeasured",
        "clustering.clusters": 20,
    }
    allowed_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {"extraction.vector": ("auto", "gradient", "fisher")}
    batch_size: int = BATCH_SIZE
    """Samples of a batch."""
    redundancy: float = 1.0
    """How much the cosine with a chosen sample of the batch lowers a score, which is in standard deviations."""

    def __post_init__(self) -> None:
        """Check the options."""
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigError(f"selection.options.batch_size={self.batch_size!r} must be a positive number of samples")
        check_positive("options.redundancy", self.redundancy)

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        """Return the samples whose score, at their turn in their batch, lies highest above the noise of the draw.

        Taking a sample where a uniform u is below sigmoid(score - threshold) is taking it where score - logit(u)
        exceeds the threshold. In a batch the highest is taken first and lowers the others, so that what is left never
        rises: every threshold takes a first part of each batch, and that of the budget is found by sorting.
        """
        assert candidates.vectors is not None and candidates.history is not None
        check_scores("selection.method=oasis_like", (NORM,), candidates)
        stream = np.argsort(candidates.keys("stream"), kind="stable")
        batches = [stream[at : at + self.batch_size] for at in range(0, len(stream), self.batch_size)]
        score_N = moving_scores(*_information(candidates), batches=batches)
        chance_N = uniform(candidates.keys("take"))
        drawn_N = np.where(np.isfinite(candidates.scores[NORM]), score_N - np.log(chance_N / (1.0 - chance_N)), -np.inf)
        turn_N = np.empty(len(candidates))
        for batch in batches:
            turn_N[batch] = at_their_turn(drawn_N[batch], candidates.vectors[batch], self.redundancy)
        rows = np.lexsort((candidates.keys("ties"), -turn_N))[:budget]
        return Choice(rows=rows, scorer=np.full(len(rows), NORM, dtype=object), score=candidates.scores[NORM][rows])


def _information(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared norms of the candidates' gradients, and those of the step before, in one common unit."""
    assert candidates.history is not None
    earlier = candidates.history.scores[NORM]
    before = earlier[:, -1] if earlier.shape[1] else np.zeros(0)
    together = np.concatenate([candidates.scores[NORM], before[np.isfinite(before)]])
    known = np.isfinite(together)
    squares = np.full(len(together), np.nan)
    squares[known] = within_unit(together[known]) ** 2
    return squares[: len(candidates)], squares[len(candidates) :]


def moving_scores(information_N: np.ndarray, before: np.ndarray, *, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Return each sample's informativeness in standard deviations from the mean, both as they were before its batch.

    A batch moves them by MOVING_SHARE. They begin with those of `before`, or of the first batch where it is empty; NaN
    is no informativeness, and has score 0.
    """
    scores_N = np.zeros(len(information_N))
    mean, variance = (before.mean(), before.var()) if len(before) else (np.nan, np.nan)
    for batch in batches:
        own = information_N[batch]
        known = own[np.isfinite(own)]
        if not len(known):
            continue
        if np.isnan(mean):
            mean, variance = known.mean(), known.var()
        deviation = np.sqrt(variance) if variance > 0 else 1.0
        scores_N[batch] = np.nan_to_num((own - mean) / deviation, nan=0.0)
        variance += MOVING_SHARE * (((known - mean) ** 2).mean() - variance)
        mean += MOVING_SHARE * (known.mean() - mean)
    return scores_N


def at_their_turn(scores_n: np.ndarray, vectors_nD: np.ndarray, redundancy: float) -> np.ndarray:
    """Return each sample's score when it is the highest that is left, each chosen one having lowered the others.

    It lowers them by `redundancy` times the cosine of the vectors, where that is positive. O(n^2).
    """
    units_nD, _ = unit_rows(np.asarray(vectors_nD), np.float64)
    likeness_nn = np.maximum(tied(units_nD @ units_nD.T), 0.0)
    left_n, found_n = scores_n.copy(), np.full(len(scores_n), -np.inf)
    for _ in range(len(scores_n)):
        best = int(left_n.argmax())
        if np.isneginf(left_n[best]):
            break
        found_n[best] = left_n[best]
        left_n -= redundancy * likeness_nn[best]
        left_n[best] = -np.inf
    return found_n
