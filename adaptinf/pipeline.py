"""The paper's Figure 1 as code: what happens when the next dataset arrives.

    pool -> check -> extraction -> clusters (step 1) -> selection (step 2) -> training -> evaluation -> pruning (step 3)

Each stage writes a folder, and an existing folder means a finished stage; so `run_step` on a partly finished step
runs the remaining stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from adaptinf import registry
from adaptinf.clustering import cluster
from adaptinf.data import Checked, Clusters, Evaluation, Features, Pruning, SavedPruning, Selection, Trained
from adaptinf.data.checked import CONTENT
from adaptinf.errors import ConfigError, StoreError
from adaptinf.evaluation import metrics
from adaptinf.evaluation.skills import SkillTest, read_tests
from adaptinf.executors import Executor, make_executor
from adaptinf.extraction import extract
from adaptinf.pool import Pool
from adaptinf.pool.intake import content_of
from adaptinf.pruning import prune
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.base import check_base
from adaptinf.runs.columns import named_columns
from adaptinf.runs.damage import check_history
from adaptinf.runs.expected import is_made, missing, missing_stages, reads_arrays
from adaptinf.runs.learners import learner_before, learner_that_measures
from adaptinf.runs.making_again import compare_made_again
from adaptinf.runs.methods import FEATURE_INPUTS
from adaptinf.runs.outside_training import train_with_command
from adaptinf.runs.same_tests import check_tests
from adaptinf.runs.stream import join
from adaptinf.runs.tested import averages_of
from adaptinf.runs.testing import evaluate_step
from adaptinf.runs.trainer_command import command_of
from adaptinf.runs.usable import unusable_samples
from adaptinf.selection import select, traits_of, with_options
from adaptinf.storage.store import Artifact
from adaptinf.training import save_weights, train
from adaptinf.words import counted

__all__ = ["Run", "run_all", "run_step"]

A = TypeVar("A", bound=Artifact)


def run_all(run: Run, *, num_steps: int | None = None) -> None:
    """Run every step of the stream, continuing where an earlier call stopped.

    What finished steps have lost is made again first.
    """
    make_missing(run)
    last = len(run.settings.stream) if num_steps is None else min(num_steps, len(run.settings.stream))
    for step in range(run.num_finished, last):
        run_step(run, step)


def run_step(run: Run, step: int) -> None:
    """Run step number `step`: its dataset joins the pool, and every stage runs once.

    Raises:
        ConfigError: the stream has no such dataset, the step before it is not finished, or it had other settings.
        StoreError: something that the step needs of earlier steps is missing, or it had another base model.
    """
    _check_turn(run, step)
    check_history(run, step)
    run = run.pin_settings()
    check_base(run)
    with run.plugins(), closing(_executor(run)) as executor:
        _take_step(run, step, executor)
    compare_made_again(run)


def make_missing(run: Run) -> None:
    """Make datasets and stages of finished steps again that are no longer there, and say whether they are as before.

    Raises:
        StoreError: a dataset's files give other rows now, or a stage needs arrays that its step has dropped.
    """
    compare_made_again(run)
    lost = [one for one in missing(run, at_rest=True) if one.step < run.num_finished]
    if not lost:
        return
    run = run.pin_settings()
    check_base(run)
    with run.plugins(), closing(_executor(run)) as executor:
        for step in [one.step for one in lost if one.stage is None]:
            run.progress.note(f"{run.dataset_folder(step)} is missing: reading it again")
            join(run, step)
        # The base model is tested at the beginning of each step.
        for step in sorted({max(one.step, 0) for one in lost if one.stage is not None}):
            names = [kind.stage for kind in missing_stages(run, step, at_rest=True)] or [Evaluation.stage]
            run.progress.note(f"step {step} lacks {', '.join(names)}: making it again")
            for change in accepted_changes(run):
                if change.step > step:
                    run.progress.note(f"warning: step {step} was made before you accepted {change.line}")
            _take_step(run, step, executor)
    _drop_old_arrays(run, run.num_finished - 1)
    compare_made_again(run)


def _executor(run: Run) -> Executor:
    return make_executor(run.settings, folder=run.folder, note=run.progress.note)


def _take_step(run: Run, step: int, executor: Executor) -> None:
    is_tested = step >= run.num_finished or is_made(run, step, Evaluation)
    tests = read_tests(run.settings.evaluation, run.settings.data)
    check_tests(run, tests)
    base, run = run.titled("base"), run.titled(f"{step + 1}/{len(run.settings.stream)}")
    _note_rejected(run, tests)
    join(run, step)
    pool = run.pool(step)
    columns = named_columns(run, step, pool)
    _check(run, step, pool)
    if run.settings.evaluation:
        _evaluate(base, BASE_STEP, tests, executor)
    features = _extract(run, step, pool, columns, executor) if needs_features(run) else None
    is_usable = ~np.isin(pool.ids, list(unusable_samples(run, step)))
    clusters = None if features is None else _cluster(run, step, features, executor)
    selection = run.once(step, Selection, lambda _: _select(run, step, pool, features, clusters, is_usable))
    _with_model(run, step, Trained, partial(_train, run, step, pool, selection))
    if run.settings.evaluation and is_tested:
        _evaluate(run, step, tests, executor)
    run.once(step, SavedPruning, lambda _: _prune(run, step, pool, features, clusters, is_usable))
    _drop_old_arrays(run, step)


def _with_model(run: Run, step: int, kind: type[A], compute: Callable[[Path], A]) -> A:
    """Run a stage that loads the model; it is not finished if files of the model change meanwhile."""

    def watched(part: Path) -> A:
        check_base(run)
        made = compute(part)
        check_base(run)
        return made

    return run.once(step, kind, watched)


def _note_rejected(run: Run, tests: Sequence[SkillTest]) -> None:
    """Report the tests with unusable rows once, before the first dataset is read and the base model is tested."""
    if run.has(BASE_STEP, Evaluation):
        return
    for test in tests:
        if test.rejected:
            total = len(test.items) + len(test.rejected)
            run.progress.note(
                f"tests of {test.config.skill}: {len(test.rejected):,} of {counted(total, 'row')} rejected, the first: "
                f"{test.rejected[0].reason}"
            )


def needs_features(run: Run) -> bool:
    """Tell whether the run's method needs measurements of the model."""
    return bool(FEATURE_INPUTS & registry.selector[run.settings.selection.method].needs)


def _check_turn(run: Run, step: int) -> None:
    if not 0 <= step < len(run.settings.stream):
        raise ConfigError(f"step {step} is not in the stream of {len(run.settings.stream)} datasets; add one first")
    if step > run.num_finished:
        raise ConfigError(f"step {step} cannot run: step {run.num_finished} of {run.folder} is not finished")


def _check(run: Run, step: int, pool: Pool) -> Checked:
    """Find out what the model cannot use of the new dataset, before anything is measured."""

    def compute(_: Path) -> Checked:
        from adaptinf.models.checks import check
        from adaptinf.models.loading import load_reader

        new = pool.view(pool.ids[pool.arrived == step])
        with run.progress.stage("check", len(new)) as bar:
            stage = f"dataset {run.settings.stream[step].name}"
            found = check(load_reader(run.settings.model), new, stage, on_read=bar.advance)
        for line in found.lines(run.settings.model.max_length):
            run.progress.note(f"{run.settings.stream[step].name}: {line}")
        content = content_of(run.dataset_folder(step))
        return Checked(unusable=found.unusable, info={**found.counts(), CONTENT: content})

    checked = run.once(step, Checked, compute)
    run.log_metrics(step, Checked.stage, {"rows": checked.info["rows"], "unusable": len(checked.unusable)})
    return checked


def _extract(run: Run, step: int, pool: Pool, columns: Mapping[str, np.ndarray], executor: Executor) -> Features:
    """Measure the pool with the model as it is before this step's training; scores of the data are put beside."""

    def compute(part: Path) -> Features:
        measured = extract(
            pool.view(pool.ids),
            learner_that_measures(run, step),
            run.settings.extraction,
            out=part,
            executor=executor,
            # The same sketch and virtual adapter in all steps, so that vectors of two steps can be compared.
            seed=run.settings.seed,
            progress=run.progress,
        )
        return replace(measured, scores={**measured.scores, **columns})

    features = _with_model(run, step, Features, compute)
    if kinds := reads_arrays(run, step):
        _check_arrays(run, step, features, kinds)
    run.log_metrics(step, Features.stage, {"rows": len(features.ids), "unscored": features.info["unscored"]})
    return features


def _check_arrays(run: Run, step: int, features: Features, kinds: Sequence[type[Artifact]]) -> None:
    """Check that the arrays are there that stages of a step are made from.

    Raises:
        StoreError: they are not; for a finished step that has dropped them, with what to delete.
    """
    folder = run.stage_folder(step, Features)
    if step < run.num_finished - 1 and not features.vectors.shape[1]:
        names = " and ".join(str(run.stage_folder(step, kind)) for kind in kinds)
        raise StoreError(
            f"{names}: to make this again the arrays of {folder} are needed, which extraction.keep: last has removed; "
            f"bring back a copy, or delete {folder} too, so that its step is measured again"
        )
    features.check_arrays(folder)


def _cluster(run: Run, step: int, features: Features, executor: Executor) -> Clusters:
    """Find the pool's pseudo-skill clusters."""

    def compute(_: Path) -> Clusters:
        with run.progress.stage("cluster", len(features.ids)) as bar:
            wanted = run.settings.clustering.clusters
            seed = run.seed("clusters", step)
            clusters = cluster(features.vectors, ids=features.ids, clusters=wanted, seed=seed, executor=executor)
            bar.advance(len(features.ids))
        return clusters

    found = run.once(step, Clusters, compute)
    asked, num_clusters = run.config.clustering.clusters, len(found.centers)
    if asked != "auto" and num_clusters < asked:
        run.progress.note(
            f"clustering.clusters={asked}, but only {num_clusters} at step {step}: no more of its vectors differ"
        )
    return found


def _select(
    run: Run, step: int, pool: Pool, features: Features | None, clusters: Clusters | None, is_usable: np.ndarray
) -> Selection:
    settings = run.settings.selection
    needs = with_options(settings.method, run.selection_options).needs
    rows = slice(None) if is_usable.all() else np.flatnonzero(is_usable)
    return select(
        None if features is None else {name: column[rows] for name, column in features.scores.items()},
        None if clusters is None else clusters.labels[rows],
        pool.ids[rows],
        len(pool) if traits_of(settings.method).whole_pool else settings.budget,
        method=settings.method,
        seed=run.seed("selection", step),
        # Taking rows copies them, and vectors may not fit into memory.
        vectors=features.vectors[rows] if features is not None and "vectors" in needs else None,
        embeddings=features.embeddings[rows] if features is not None and "embeddings" in needs else None,
        centers=None if clusters is None else clusters.centers,
        distances=None if clusters is None else clusters.distances[rows],
        arrived=pool.arrived[rows],
        skills=pool.skills[rows] if np.any(pool.skills != "") else None,
        current_step=step,
        **run.selection_options,
    )


def _train(run: Run, step: int, pool: Pool, selection: Selection, part: Path) -> Trained:
    if not len(selection.ids):
        # An empty dataset at the start of a stream: nothing to train on, the model stays unchanged.
        save_weights(learner_before(run, step).make(), part)
        return Trained(info={"samples": 0, "optimizer_steps": 0})
    command = command_of(run.settings)
    if command is not None:
        return train_with_command(run, step, pool, selection.ids, command, part, is_measured=needs_features(run))
    samples = pool.view(selection.ids)
    seed = run.seed("model", step)
    learner = learner_before(run, step).make()
    return train(samples, learner, run.settings.training, out=part, seed=seed, progress=run.progress)


def _evaluate(run: Run, step: int, tests: list[SkillTest], executor: Executor) -> None:
    """Add one row to the skill matrix: the model after a step, or the base model for step -1."""
    evaluation = _with_model(run, step, Evaluation, partial(evaluate_step, run, step, tests, executor))
    averages = averages_of(evaluation.scores)
    micro = metrics.average_accuracy(evaluation.matrix, evaluation.frequency)
    numbers = {"average_accuracy": averages.strict, "micro_accuracy": micro, "average_tolerant": averages.tolerant}
    run.log_metrics(step, Evaluation.stage, numbers)


def _prune(
    run: Run, step: int, pool: Pool, features: Features | None, clusters: Clusters | None, is_usable: np.ndarray
) -> SavedPruning:
    """Prune the pool to the cap; without embeddings samples are removed uniformly at random."""
    cap = len(pool) if run.cap is None else run.cap
    # Samples that cannot be trained on are pruned first, as those without a cluster.
    labels = np.where(is_usable, np.zeros(len(pool), np.int64) if clusters is None else clusters.labels, -1)
    embeddings = None if features is None else features.embeddings
    # Restored samples are never pruned (docs/pruning.md); the others share the rest of the cap.
    is_free = ~np.isin(pool.ids, list(pool.restored))
    free = slice(None) if is_free.all() else np.flatnonzero(is_free)
    with run.progress.stage("prune", len(pool)) as bar:
        among_free: Pruning = prune(
            None if embeddings is None else embeddings[free],
            labels[free],
            pool.ids[free],
            max(0, cap - int((~is_free).sum())),
            seed=run.seed("pruning", step),
            order=run.settings.pruning.order,
            allocation=run.settings.pruning.allocation,
        )
        bar.advance(len(pool))
    pruning = among_free.in_rows(np.flatnonzero(is_free), len(pool))
    run.log_metrics(step, SavedPruning.stage, {"kept": len(pruning.kept), "removed": len(pruning.removed)})
    return SavedPruning(table=pruning.table(pool.ids, labels), num_kept=len(pruning.kept))


def _drop_old_arrays(run: Run, step: int) -> None:
    """Remove vectors and embeddings of earlier steps under `extraction.keep: last`; their scores stay."""
    if run.settings.extraction.keep == "all":
        return
    for older in range(step):
        Features.drop_arrays(run.stage_folder(older, Features))
