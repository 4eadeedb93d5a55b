"""The stages that choose: samples to train on, and samples that leave the pool."""

from __future__ import annotations

import numpy as np

from adaptinf.arrays.mapped import taken
from adaptinf.data import Clusters, Features, SavedPruning, Selection
from adaptinf.executors import Executor, Shown
from adaptinf.pool import Pool
from adaptinf.pool.id_lists import named
from adaptinf.progress import in_one
from adaptinf.pruning import prune
from adaptinf.runs import Run
from adaptinf.runs.composition import composition_of, kept_arrivals, notes
from adaptinf.runs.sample_history import history_of
from adaptinf.runs.targets import measured_targets
from adaptinf.selection import select, traits_of, with_options
from adaptinf.selection.composition import among
from adaptinf.selection.traits import history_scores
from adaptinf.words import counted


def choose(
    run: Run, step: int, pool: Pool, features: Features | None, clusters: Clusters | None, is_usable: np.ndarray
) -> Selection:
    """Choose what to train on among the usable samples of the pool."""
    with in_one(run.progress, "select", len(pool)):
        return _chosen(run, step, pool, features, clusters, is_usable)


def _chosen(
    run: Run, step: int, pool: Pool, features: Features | None, clusters: Clusters | None, is_usable: np.ndarray
) -> Selection:
    settings = run.settings.selection
    method, needs = settings.method, with_options(settings.method, run.selection_options).needs
    rows = slice(None) if is_usable.all() else np.flatnonzero(is_usable)
    composition = composition_of(run, step, pool, is_usable)
    if unusable := pool.ids[kept_arrivals(pool, step) & ~is_usable].tolist():
        run.progress.note(f"selection.keep: {counted(len(unusable), 'sample')} cannot be trained on: {named(unusable)}")
    selection = select(
        None if features is None else {name: column[rows] for name, column in features.scores.items()},
        None if clusters is None else clusters.labels[rows],
        pool.ids[rows],
        len(pool) if traits_of(settings.method).whole_pool else settings.budget,
        method=settings.method,
        seed=run.seed("selection", step),
        # Taking rows copies them, and vectors may not fit into memory.
        vectors=_usable(features.vectors, is_usable) if features is not None and "vectors" in needs else None,
        embeddings=_usable(features.embeddings, is_usable) if features is not None and "embeddings" in needs else None,
        centers=None if clusters is None else clusters.centers,
        distances=None if clusters is None else clusters.distances[rows],
        arrived=pool.arrived[rows],
        history=history_of(run, step, pool.ids[rows], history_scores(method)) if "history" in needs else None,
        targets=measured_targets(run, step) if "targets" in needs else None,
        skills=pool.skills[rows] if np.any(pool.skills != "") else None,
        current_step=step,
        composition=None if composition is None else among(composition, is_usable),
        **run.selection_options,
    )
    if composition is not None:
        for line in notes(run, selection.parts, len(selection.ids)):
            run.progress.note(line)
    return selection


def _usable(rows_ND: np.ndarray, is_usable: np.ndarray) -> np.ndarray:
    return rows_ND if is_usable.all() else taken(rows_ND, np.flatnonzero(is_usable))


def prune_pool(
    run: Run,
    step: int,
    pool: Pool,
    features: Features | None,
    clusters: Clusters | None,
    is_usable: np.ndarray,
    executor: Executor,
) -> SavedPruning:
    """Prune the pool to the cap; without embeddings samples are removed uniformly at random."""
    cap = len(pool) if run.cap is None else run.cap
    # Samples that cannot be trained on are pruned first, as those without a cluster.
    labels = np.where(is_usable, np.zeros(len(pool), np.int64) if clusters is None else clusters.labels, -1)
    embeddings = None if features is None else features.embeddings
    with run.progress.stage("prune", len(pool)) as bar:
        pruning = prune(
            embeddings,
            labels,
            pool.ids,
            cap,
            seed=run.seed("pruning", step),
            order=run.settings.pruning.order,
            allocation=run.settings.pruning.allocation,
            executor=Shown(executor, bar),
            # Restored and kept samples are never pruned (docs/pruning.md); the others share the rest of the cap.
            stays=pool.stays if pool.restored or pool.kept else None,
        )
        bar.advance(len(pool))
    if pruning.divided.parts:
        run.progress.note(pruning.divided.line)
    run.log_metrics(step, SavedPruning.stage, {"kept": len(pruning.kept), "removed": len(pruning.removed)})
    return SavedPruning(table=pruning.table(pool.ids, labels), num_kept=len(pruning.kept), divided=pruning.divided)
