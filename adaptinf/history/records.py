"""The records that `explain` returns: one sample, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from adaptinf.pool.corrections import Exclusion
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score of the sample."""

    value: float
    """The model's value; NaN: not measured."""
    quantile: float
    """Share of the cluster's finite values below it, equal ones counting half, 0 to 1; NaN without a value."""


@dataclass(frozen=True, kw_only=True)
class ClusterMembership:
    """The sample's cluster."""

    cluster: int
    """Its number; -1: unscored."""
    size: int
    """Samples in it."""
    distance: float
    """Euclidean distance of the sample to its center; NaN in cluster -1."""
    quantile: float
    """Share of the members that are nearer to the center, equal ones counting half."""


@dataclass(frozen=True, kw_only=True)
class SelectionOutcome:
    """Whether and why a step selected the sample."""

    chosen: bool
    """Whether it was selected."""
    reason: str
    """Why, or why not, in words."""
    method: str
    """Name of the selector."""
    total: int
    """Samples that the step selected."""
    budget: int | None
    """Samples that were selected in the sample's cluster; None for a method without clusters."""
    scorer: str | None
    """The scorer that decided in the cluster."""
    entropies: dict[str, float]
    """Scorer -> bits of its histogram in the cluster; the largest decides; NaN: too many values missing."""
    score: float | None
    """The sample's value of the score that decided."""
    bin: int | None
    """Its bin; -1: in a tail or without a score; None where there are no bins."""
    bin_size: int | None
    """Members of the cluster in that bin."""
    bin_budget: int | None
    """How many of them were selected."""
    rank: int | None
    """0-based position in the order in which its cluster was sampled."""


@dataclass(frozen=True, kw_only=True)
class PruningOutcome:
    """Why the sample left the pool."""

    similarity: float
    """Cosine with the neighbour; NaN without one."""
    neighbour: str | None
    """Id of the sample that it was most similar to; None: it was compared with none."""
    neighbour_stayed: bool
    """Whether the neighbour stayed in the pool."""
    neighbour_turns: tuple[tuple[str, str], ...]
    """The neighbour's conversation, as `SampleHistory.turns`."""
    neighbour_images: tuple[str, ...]
    """The neighbour's images."""


@dataclass(frozen=True, kw_only=True)
class StepHistory:
    """One step, as far as it concerns the sample."""

    step: int
    """Number of the step, from 0."""
    absent: str | None
    """Why the sample was not in the step's pool; None: it was."""
    scores: dict[str, Score]
    """Scorer -> score; empty for a method that uses no model."""
    placed: ClusterMembership | None
    """Its cluster; None without clusters."""
    considered: SelectionOutcome | None
    """Whether and why it was selected; None: the step has not selected yet."""
    trained: bool | None
    """Whether the model was trained on it; None: the step has not trained yet."""
    untrained: str | None
    """Why a selected sample was left out of training."""
    pruned: PruningOutcome | None
    """Why it left the pool; None: it stayed, or the step has not pruned yet."""
    measured_at: int | None = None
    """Step whose model measured its scores and vector (`extraction.refresh`); None: nothing is measured."""


@dataclass(frozen=True, kw_only=True, repr=False)
class SampleHistory:
    """Everything that a run knows of one sample. In a notebook it shows as HTML, one row per step."""

    id: str
    """Its id."""
    state: str
    """in the pool, pruned, excluded, withdrawn or rejected."""
    source: str
    """Name of its dataset."""
    arrived: int
    """Number of the step at which the dataset arrived."""
    turns: tuple[tuple[str, str], ...]
    """Role and text of each turn; `<image>` stands for an image."""
    images: tuple[str, ...]
    """Image files in order."""
    meta: dict[str, Any]
    """Further fields of the row."""
    notes: tuple[str, ...]
    """What the reader repaired, or why it rejected the row."""
    restored_from: int | None
    """First step whose pool has it again after it was pruned and restored."""
    withdrawn_from: int | None
    """First step whose pool lacks it because its dataset was withdrawn."""
    kept_from: int | None
    """First step at which `selection.keep` names it: it is never pruned; None: it is not kept."""
    exclusions: tuple[Exclusion, ...]
    """Every time that it was excluded, and that this was taken back (`why` is None), in order."""
    steps: tuple[StepHistory, ...]
    """Every step that has begun since it arrived."""

    def __repr__(self) -> str:
        steps = counted(len(self.steps), "step")
        return f"SampleHistory({self.id!r}: {self.state}; {steps} from step {self.arrived} on)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per step, indexed by the step's number.

        Columns: `absent` (why it was not in the pool; None: it was), `measured_at` (a step; None: not measured),
        `cluster`, one per scorer with the sample's value, `selected`, `scorer`, `rank`, `budget` (of its cluster),
        `reason`, `trained`, `pruned` (whether), `similarity` and `neighbour`. None or NaN where a step has no such
        value.
        """
        import pandas as pd

        rows = [_as_columns(step) for step in self.steps]
        index = pd.Index([step.step for step in self.steps], name="step", dtype="int64")
        return pd.DataFrame(rows, index=index)

    def _repr_html_(self) -> str:
        """Return the state, the conversation and the steps as notebooks show them."""
        turns = "".join(f"<li><b>{escape(role)}</b>: {escape(text)}</li>" for role, text in self.turns)
        return f"<p>{escape(self.id)}: {escape(self.state)}</p><ul>{turns}</ul>{self.to_pandas().to_html()}"


def _as_columns(step: StepHistory) -> dict[str, Any]:
    placed, outcome, pruned = step.placed, step.considered, step.pruned
    return {
        "absent": step.absent,
        "measured_at": step.measured_at,
        "cluster": placed and placed.cluster,
        **{name: score.value for name, score in step.scores.items()},
        "selected": outcome and outcome.chosen,
        "scorer": outcome and outcome.scorer,
        "rank": outcome and outcome.rank,
        "budget": outcome and outcome.budget,
        "reason": outcome and outcome.reason,
        "trained": step.trained,
        "pruned": pruned is not None,
        "similarity": float("nan") if pruned is None else pruned.similarity,
        "neighbour": pruned and pruned.neighbour,
    }
