"""Extraction of a pool of which an earlier step has measured a part (`extraction.refresh`, docs/extraction.md).

    what the step before has -> which samples to measure -> measured -> control sample compared -> clusters compared

Where one of the comparisons says that old and new vectors do not go together, the rest is measured too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.arrays.seeded import hash_ids
from adaptinf.clustering import cluster
from adaptinf.data import Clusters, Features
from adaptinf.executors import Executor, Shown
from adaptinf.extraction import extract
from adaptinf.extraction.refresh.carrying import Piece, joined
from adaptinf.extraction.refresh.control import Drift, compare_control, rows_of
from adaptinf.extraction.refresh.drift import MAX_AMI, MAX_SEPARATION, MIN_COSINE, separation
from adaptinf.extraction.refresh.plan import Reason, RefreshPlan, make_plan
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.pool import Pool
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_that_measures
from adaptinf.runs.measured_before import (
    PLUGINS,
    Before,
    changed_measuring,
    has_other_base,
    measured_before,
    plugin_code,
)
from adaptinf.runs.methods import array_inputs
from adaptinf.storage import store, tables
from adaptinf.words import counted

FOLDER = "refresh"
"""Folder of what is measured of a pool, inside the folder of the features; gone when those are whole."""
PLAN_FILE, MAKER_FILE = "plan.parquet", "maker.json"
"""Inside it: what is done with each sample; which pool and setting that was made for."""
FIRST, REST = "first", "rest"
"""Inside it: features of the samples that are measured at first, and of the others where everything is measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The features of a step's pool."""

    features: Features
    """Vectors, embeddings and scores of every sample of the pool."""
    clusters: Clusters | None = None
    """The pool's clusters, where they had to be found to compare ages; None: they were not."""


def measure_pool(run: Run, step: int, pool: Pool, executor: Executor, part: Path) -> Measured:
    """Measure what `extraction.refresh` asks for of a step's pool, in the unfinished folder of its features."""
    work = _Measuring(run=run, step=step, pool=pool, executor=executor, part=part)
    if run.settings.extraction.refresh == "all":
        return Measured(features=work.extract(slice(None), part))
    if step == 0:
        return Measured(features=work.with_plugins(work.extract(slice(None), part)))
    return work.refreshed()


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """The features of one step that are being made."""

    run: Run
    step: int
    pool: Pool
    executor: Executor
    part: Path

    def refreshed(self) -> Measured:
        """Return the features of a pool that the step before knows in part."""
        folder = self.part / FOLDER
        if (self.part / store.INFO).exists() and not folder.exists():
            return Measured(features=Features.load(self.part))
        before = measured_before(self.run, self.step, self.pool)
        plan = self._plan(before)
        if len(plan.carried):
            measured = self._partly(plan, before)
        else:
            features = self.with_plugins(self.extract(slice(None), self.part, before.known_refused))
            report = self._report(plan, everything=before.problem)
            measured = Measured(features=replace(features, info={**features.info, Features.REFRESH: report}))
        self._note(measured.features.info[Features.REFRESH])
        measured.features.save(self.part)
        # Last, so that a kill before the features are complete leaves what was measured to continue from.
        store.discard(folder)
        return measured

    def extract(self, rows: np.ndarray | slice, out: Path, known_refused: Collection[str] = ()) -> Features:
        """Measure some rows of the pool."""
        run = self.run
        return extract(
            self.pool.view(self.pool.ids[rows]),
            self._learner(),
            run.settings.extraction,
            out=out,
            executor=self.executor,
            # The same sketch and virtual adapter in all steps, so that vectors of two steps can be compared.
            seed=run.settings.seed,
            progress=run.progress,
            pool_size=len(self.pool),
            known_refused=known_refused,
        )

    def _learner(self) -> LearnerRecipe:
        return learner_that_measures(self.run, self.step)

    def with_plugins(self, features: Features) -> Features:
        """Return the features with the code of the plug-ins in `info`, if there are any."""
        code = plugin_code(self.run)
        return replace(features, info={**features.info, PLUGINS: code}) if code else features

    def _plan(self, before: Before) -> RefreshPlan:
        """Return what is done with each sample; made and saved first if that was not done before a kill.

        Anew where something that it carries over has been lost or was made again since.

        Raises:
            StoreError: it was made for another pool.
        """
        folder = self.part / FOLDER
        setting = self.run.settings.extraction.refresh
        maker = {"ids": f"{len(self.pool)} rows, {tables.digest(self.pool.ids)}"}
        if (folder / MAKER_FILE).exists():
            store.check_maker(folder / MAKER_FILE, maker)
            plan = RefreshPlan.load(folder / PLAN_FILE)
            if _still_holds(plan, before):
                return plan
            store.discard(folder)
        folder.mkdir(parents=True, exist_ok=True)
        hashes = hash_ids(self.pool.ids)
        seed = self.run.settings.seed
        plan = make_plan(before.earlier, setting, before.must, hashes=hashes, step=self.step, seed=seed)
        plan.save(folder / PLAN_FILE)
        # After the plan: where its maker is known, the plan is whole.
        store.write_json_whole(folder / MAKER_FILE, maker)
        return plan

    def _partly(self, plan: RefreshPlan, before: Before) -> Measured:
        """Return the features of a pool of which a part is measured, unless that part says that all of it must be."""
        assert before.features is not None
        folder, ids = self.part / FOLDER, self.pool.ids
        first = self.with_plugins(self.extract(plan.measured, folder / FIRST, before.known_refused))
        own = _piece(plan.measured, first, self.step)
        carried = Piece(
            plan.carried, before.features, plan.row_N[plan.carried], plan.measured_at_N[plan.carried].astype(np.int64)
        )
        everything = has_other_base(self.run, self.step) or changed_measuring(before.features.info, first.info)
        # What was measured in another way may be of another length, and is not compared.
        drift = (
            None
            if everything
            else compare_control(plan, before.features, first, step=self.step, with_embeddings=self._uses_embeddings())
        )
        everything = everything if drift is None else drift.problem
        clusters, ami = None, None
        if everything is None:
            features = joined(ids, [own, carried], self.part)
            clusters, ami = self._separation(plan, before.features, features)
            if ami is not None and ami > MAX_AMI:
                everything = f"clusters separate old from new vectors: mutual information {ami:.2f} is above {MAX_AMI}"
        if everything is not None:
            rest = self.extract(plan.carried, folder / REST, before.known_refused)
            features = joined(ids, [own, _piece(plan.carried, rest, self.step)], self.part)
            features, clusters = replace(features, measured_at=None), None
        report = self._report(plan, everything=everything, drift=drift, ami=ami)
        return Measured(features=replace(features, info={**features.info, Features.REFRESH: report}), clusters=clusters)

    def _uses_embeddings(self) -> bool:
        return self.run.cap is not None or "embeddings" in array_inputs(self.run.settings)

    def _separation(
        self, plan: RefreshPlan, before: Features, features: Features
    ) -> tuple[Clusters | None, float | None]:
        """Return the clusters of old and new vectors together, and how far they separate the control sample's."""
        if not len(plan.control):
            return None, None
        clusters = find_clusters_of(self.run, self.step, features, self.executor)
        old = rows_of(before, plan.row_N[plan.control])
        return clusters, separation(clusters, clusters.labels[plan.control], old.vectors)

    def _report(
        self, plan: RefreshPlan, *, everything: str | None, drift: Drift | None = None, ami: float | None = None
    ) -> dict[str, Any]:
        """Return what info.json says of the measurement."""
        setting = self.run.settings.extraction.refresh
        carried = plan.carried if everything is None else plan.carried[:0]
        ages = np.bincount(self.step - plan.measured_at_N[carried], minlength=1)
        ages[0] = len(self.pool) - len(carried)
        return {
            "setting": setting,
            "measured": int(ages[0]),
            "carried": len(carried),
            "reasons": plan.counts(),
            "ages": {str(age): int(count) for age, count in enumerate(ages) if count},
            "everything": everything,
            "control": None if drift is None else drift.as_json(),
            "ami": ami,
            "bounds": {"relative_cosine": MIN_COSINE, "ami": MAX_AMI, "separation": MAX_SEPARATION},
        }

    def _note(self, report: dict[str, Any]) -> None:
        """Say in one line why everything was measured, and how many measurements had been lost."""
        lost = report["reasons"].get("missing", 0)
        if report["everything"] is not None:
            self.run.progress.note(f"extraction.refresh: everything is measured: {report['everything']}")
        elif lost:
            self.run.progress.note(
                f"extraction.refresh: {counted(lost, 'earlier measurement')} damaged or missing: measured again"
            )


def _still_holds(plan: RefreshPlan, before: Before) -> bool:
    """Tell whether all that a plan carries over is there, as it was when the plan was made."""
    rows, earlier = plan.carried, before.earlier
    if before.features is not None and before.must[Reason.MISSING][rows].any():
        return False
    pairs = ((plan.row_N, earlier.row_N), (plan.measured_at_N, earlier.measured_at_N))
    return all(np.array_equal(was[rows], now[rows]) for was, now in pairs)


def _piece(rows: np.ndarray, features: Features, step: int) -> Piece:
    """Return what this step measured of some rows of the pool."""
    return Piece(rows, features, np.arange(len(rows)), np.full(len(rows), step, np.int64))


def find_clusters_of(run: Run, step: int, features: Features, executor: Executor) -> Clusters:
    """Return the pool's pseudo-skill clusters."""
    with run.progress.stage("cluster", len(features.ids)) as bar:
        wanted, seed = run.settings.clustering.clusters, run.seed("clusters", step)
        shown = Shown(executor, bar)
        clusters = cluster(features.vectors, ids=features.ids, clusters=wanted, seed=seed, executor=shown)
        bar.advance(len(features.ids))
    return clusters
