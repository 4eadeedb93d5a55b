"""The time left for the stage, the step and the stream under way, from what this run's own stages have cost so far.

What a kind of stage has cost per item, in finished steps or, until one is finished, in the stage under way, is taken
for the same kind of stage in the steps to come. A kind that has not run yet has no cost, with two exceptions: measuring
and training a sample cost about the same (docs/speed.md), and what `adaptinf doctor` has measured with the same model
and settings on this machine is taken where nothing else is known. Reading, checking, clustering, selecting and pruning
count as nothing until they have run once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptinf.config import RunConfig
from adaptinf.data import Checked, Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.data.refresh import Refresh, expected_rows
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.runs import BASE_STEP, Run, kept_forecast
from adaptinf.runs.activity import STAGE_WORDS, Activity
from adaptinf.runs.heartbeat import StageBeat
from adaptinf.runs.methods import measures, method_traits
from adaptinf.runs.step_folders import StepFolders

COSTLY = (Features.stage, Trained.stage, Evaluation.stage)
"""Stages without whose cost nothing can be said of a step."""
ALIKE = {Features.stage: Trained.stage, Trained.stage: Features.stage}
"""Stages of which a sample costs about the same."""

ITEMS = ("samples", "items", "rows")
"""Units of bars that count what `Work` counts; what a killed attempt has left done may be missing in their totals."""


@dataclass(frozen=True, kw_only=True)
class Remaining:
    """Seconds that are left; None: not known yet."""

    stage: float | None = None
    """Of the stage under way."""
    step: float | None = None
    """Of the step under way; before the first one with the test of the base model."""
    stream: float | None = None
    """Of all steps to come."""
    unknown: tuple[str, ...] = ()
    """What nothing is known of yet, so that step and stream are not known."""
    guessed: tuple[str, ...] = ()
    """What was never measured in this run, and how it is guessed."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How many items each stage of each step works on."""

    rows: Sequence[float]
    """Rows of the dataset of each step."""
    config: RunConfig
    """The settings of the run."""
    num_items: float | None
    """Test items; None: not known."""
    needs_features: bool
    """Whether the method measures the pool."""
    whole_pool: bool
    """Whether the method trains on all of it."""

    @cached_property
    def _pools(self) -> list[int]:
        return self._expected("all")

    def _expected(self, refresh: Refresh) -> list[int]:
        cap = self.config.pruning.cap
        budget = None if self.whole_pool else self.config.selection.budget
        return expected_rows(list(map(round, self.rows)), cap if isinstance(cap, int) else None, budget, refresh)

    @cached_property
    def _measured(self) -> list[int]:
        return self._expected(self.config.extraction.refresh)

    def items(self, step: int, stage: str) -> float | None:
        """Return the items of one stage of one step; 0: it has no such stage; None: not known."""
        if stage == Evaluation.stage:
            return self.num_items if self.config.evaluation else 0.0
        if step == BASE_STEP or (stage in (Features.stage, Clusters.stage) and not self.needs_features):
            return 0.0
        if stage in (POOL_STAGE, Checked.stage):
            return float(self.rows[step])
        if stage == Features.stage:
            return float(self._measured[step])
        pool = self._pools[step]
        if stage != Trained.stage:
            return float(pool)
        chosen = pool if self.whole_pool else min(pool, self.config.selection.budget)
        return float(chosen * self.config.training.epochs)


STAGES = (POOL_STAGE, Checked.stage, Features.stage, Clusters.stage, Selection.stage, Trained.stage, Evaluation.stage,
          SavedPruning.stage)  # fmt: skip


def remaining(
    run: Run,
    activity: Activity,
    *,
    num_rows: Sequence[int | None],
    seconds: Mapping[tuple[int, str], float],
    folders: StepFolders,
) -> Remaining:
    """Return the time left.

    Args:
        run: the run.
        activity: who works on it, and at what.
        num_rows: rows of each dataset; None: it has not joined the pool.
        seconds: how long each finished (step, stage) took.
        folders: what the folders of the steps hold.
    """
    stages = activity.beat.stages if activity.beat is not None and activity.state == "running" else ()
    bar = next((stage for stage in stages if stage.seconds_left is not None), None)
    known = [rows for rows in num_rows if rows is not None]
    if not known:
        known = [bar.total] if bar is not None and bar.unit == "rows" and bar.total is not None else []
    own = bar.seconds_left if bar is not None else None
    if not known and not num_rows:
        return Remaining(stage=own)
    if not known:
        return Remaining(stage=own, unknown=("the size of the datasets",))
    work = Work(
        rows=[float(np.mean(known)) if rows is None else float(rows) for rows in num_rows],
        config=run.settings,
        num_items=_num_items(run, activity, bar, folders),
        needs_features=measures(run.settings),
        whole_pool=method_traits(run.settings).whole_pool,
    )
    costs = _costs(work, seconds, activity, bar)
    forecast = {} if costs.keys() >= set(kept_forecast.STAGES) else kept_forecast.kept(run.settings)
    return _summed(run, activity, work, costs, forecast, bar, folders)


def _summed(
    run: Run,
    activity: Activity,
    work: Work,
    costs: Mapping[str, float],
    forecast: Mapping[str, float],
    bar: StageBeat | None,
    folders: StepFolders,
) -> Remaining:
    """Add up what is left of each step that is not finished."""
    guesses = dict[str, str]()
    unknown = dict[str, None]()
    totals = list[float]()
    done = folders.num_finished
    place = activity.place
    for step in (BASE_STEP, *range(done, len(work.rows))):
        total = 0.0
        for stage in STAGES:
            items = work.items(step, stage)
            if items == 0 or _is_finished(run, step, stage, folders):
                continue
            if place is not None and (place.step, place.stage) == (step, stage) and bar is not None:
                total += bar.seconds_left or 0.0
                continue
            cost = _cost_of(stage, costs, forecast, guesses)
            if cost is not None and items is not None:
                total += cost * items
            elif stage in COSTLY:
                unknown[STAGE_WORDS[stage]] = None
        totals.append(total)
    own = bar.seconds_left if bar is not None else None
    if unknown:
        return Remaining(stage=own, unknown=tuple(unknown))
    guessed = tuple(f"{STAGE_WORDS[stage]} {how}" for stage, how in guesses.items())
    return Remaining(stage=own, step=sum(totals[:2]), stream=sum(totals), guessed=guessed)


def _cost_of(
    stage: str, costs: Mapping[str, float], forecast: Mapping[str, float], guesses: dict[str, str]
) -> float | None:
    """Return the seconds of an item of a stage, and note in `guesses` where they were not measured in this run."""
    if stage in costs:
        return costs[stage]
    if stage in forecast:
        guesses[stage] = "as the doctor has measured it"
        return forecast[stage]
    other = ALIKE.get(stage)
    if other in costs:
        assert other is not None
        guesses[stage] = f"as costly per sample as {STAGE_WORDS[other]}"
        return costs[other]
    return None


def _costs(
    work: Work, seconds: Mapping[tuple[int, str], float], activity: Activity, bar: StageBeat | None
) -> dict[str, float]:
    """Return stage -> seconds per item: of finished stages, else of the one under way."""
    spent, counted = dict[str, float](), dict[str, float]()
    for (step, stage), took in seconds.items():
        items = work.items(step, stage) if step < len(work.rows) else None
        if items:
            spent[stage] = spent.get(stage, 0.0) + took
            counted[stage] = counted.get(stage, 0.0) + items
    costs = {stage: spent[stage] / counted[stage] for stage in spent}
    place = activity.place
    if place is not None and bar is not None and bar.rate and bar.total and place.stage not in costs:
        items = bar.total if bar.unit in ITEMS else work.items(place.step, place.stage)
        if items:
            costs[place.stage] = bar.total / bar.rate / items
    return costs


def _num_items(run: Run, activity: Activity, bar: StageBeat | None, folders: StepFolders) -> float | None:
    """Return the number of test items: of the base model's test, else of the test under way."""
    if folders.has(BASE_STEP, Evaluation):
        return float(Evaluation.load_num_items(run.stage_folder(BASE_STEP, Evaluation))) or None
    is_tested = activity.place is not None and activity.place.stage == Evaluation.stage
    return float(bar.total) if is_tested and bar is not None and bar.total else None


def _is_finished(run: Run, step: int, stage: str, folders: StepFolders) -> bool:
    if stage == POOL_STAGE:
        return run.dataset_folder(step).exists()
    return stage in folders.names.get(step, ())
