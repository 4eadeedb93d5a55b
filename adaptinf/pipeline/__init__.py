"""The paper's Figure 1 as code: what happens when the next dataset arrives.

    pool -> check -> extraction -> clusters (step 1) -> selection (step 2) -> training -> evaluation -> gate -> pruning
    (step 3)

Each stage writes a folder, and an existing folder means a finished stage; so `run_step` on a partly finished step
runs the remaining stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial

import numpy as np

from adaptinf.data import Evaluation, SavedPruning, Selection, Trained
from adaptinf.distributed.devices import num_devices
from adaptinf.errors import ConfigError
from adaptinf.evaluation.skills import SkillTest, read_tests
from adaptinf.executors import Executor, make_executor
from adaptinf.executors.processes import open_readers
from adaptinf.pipeline.choosing import choose, prune_pool
from adaptinf.pipeline.gating import settle
from adaptinf.pipeline.learning import learn, test_model
from adaptinf.pipeline.mapping import is_installed, try_map
from adaptinf.pipeline.measuring import check_dataset, drop_old_arrays, find_clusters, measure, needs_features
from adaptinf.pipeline.watched import with_model
from adaptinf.progress import in_one
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.base import check_base
from adaptinf.runs.columns import named_columns
from adaptinf.runs.composition import check_weights
from adaptinf.runs.damage import check_history
from adaptinf.runs.events import note_workers
from adaptinf.runs.expected import is_made, missing, missing_stages
from adaptinf.runs.gates import check_gate
from adaptinf.runs.keep import record_kept
from adaptinf.runs.making_again import compare_made_again
from adaptinf.runs.rollback import has_trained
from adaptinf.runs.same_tests import check_tests
from adaptinf.runs.stream import join
from adaptinf.runs.usable import unusable_samples
from adaptinf.words import counted

__all__ = ["Run", "run_all", "run_step"]


def run_all(run: Run, *, num_steps: int | None = None) -> None:
    """Run every step of the stream, continuing where an earlier call stopped.

    What finished steps have lost is made again first.

    Raises:
        GateStopped: as `run_step`.
    """
    check_gate(run, run.num_finished)
    make_missing(run)
    last = len(run.settings.stream) if num_steps is None else min(num_steps, len(run.settings.stream))
    for step in range(run.num_finished, last):
        run_step(run, step)


def run_step(run: Run, step: int) -> None:
    """Run step number `step`: its dataset joins the pool, and every stage runs once.

    Raises:
        ConfigError: the stream has no such dataset, the step before it is not finished, or it had other settings.
        StoreError: something that the step needs of earlier steps is missing, or it had another base model.
        GateStopped: a skill has lost too much (`evaluation_gate`), now or when the step was tested before.
    """
    _check_turn(run, step)
    check_gate(run, step)
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
            join(run, step, readers=partial(open_readers, executor=executor))
        # The base model is tested at the beginning of each step.
        for step in sorted({max(one.step, 0) for one in lost if one.stage is not None}):
            names = [kind.stage for kind in missing_stages(run, step, at_rest=True)] or [Evaluation.stage]
            run.progress.note(f"step {step} lacks {', '.join(names)}: making it again")
            for change in accepted_changes(run):
                if change.is_of_inputs and change.step > step:
                    run.progress.note(f"warning: step {step} was made before you accepted {change.line}")
            _take_step(run, step, executor)
    drop_old_arrays(run, run.num_finished - 1)
    compare_made_again(run)


def _executor(run: Run) -> Executor:
    """Return the executor; devices that training asks for and that are not there are refused with it."""
    num_devices(run.settings)
    return make_executor(run.settings, folder=run.folder, note=partial(_note_workers, run))


def _note_workers(run: Run, text: str) -> None:
    """Show a line about the workers, and keep it: after a night it tells how many died, and where."""
    run.progress.note(text)
    note_workers(run.events_file, text)


def _take_step(run: Run, step: int, executor: Executor) -> None:
    is_tested = step >= run.num_finished or is_made(run, step, Evaluation)
    with in_one(run.progress, "read the tests", len(run.settings.evaluation), "skills"):
        tests = read_tests(run.settings.evaluation, run.settings.data)
    check_tests(run, tests)
    base, run = run.titled("base"), run.titled(f"{step + 1}/{len(run.settings.stream)}")
    _note_rejected(run, tests)
    join(run, step, readers=partial(open_readers, executor=executor))
    record_kept(run, step)
    pool = run.pool(step)
    check_weights(run, step, pool)
    columns = named_columns(run, step, pool)
    check_dataset(run, step, pool)
    if run.settings.evaluation:
        test_model(base, BASE_STEP, tests, executor)
    measured = measure(run, step, pool, columns, executor) if needs_features(run) else None
    features = None if measured is None else measured.features
    is_usable = ~np.isin(pool.ids, list(unusable_samples(run, step)))
    clusters = None if measured is None else find_clusters(run, step, measured, executor)
    selection = run.once(step, Selection, lambda _: choose(run, step, pool, features, clusters, is_usable))
    if not has_trained(run, step):
        with_model(run, step, Trained, partial(learn, run, step, pool, selection, executor))
    if run.settings.evaluation and is_tested:
        test_model(run, step, tests, executor)
    settle(run, step)
    run.once(step, SavedPruning, lambda _: prune_pool(run, step, pool, features, clusters, is_usable, executor))
    if run.makes_maps and is_installed():
        try_map(run, step)
    drop_old_arrays(run, step)


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


def _check_turn(run: Run, step: int) -> None:
    if not 0 <= step < len(run.settings.stream):
        raise ConfigError(f"step {step} is not in the stream of {len(run.settings.stream)} datasets; add one first")
    if step > run.num_finished:
        raise ConfigError(f"step {step} cannot run: step {run.num_finished} of {run.folder} is not finished")
