"""Testing the model after a step: its answers to test items, and the harnesses that the run names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from adaptinf.data import Evaluation
from adaptinf.evaluation.harness.joining import joined
from adaptinf.evaluation.harness.reading import HarnessResult
from adaptinf.evaluation.harness.running import StepModel, run_harnesses, tidy
from adaptinf.evaluation.harness.tests import HarnessTest, read_harnesses
from adaptinf.evaluation.skills import SkillTest, frequencies, introductions
from adaptinf.executors import Executor
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.runs import Run
from adaptinf.runs.base import KeptBase
from adaptinf.runs.learners import learner_to_test
from adaptinf.runs.same_tests import check_harness
from adaptinf.storage import checksums


def evaluate_step(run: Run, step: int, tests: Sequence[SkillTest], executor: Executor, part: Path) -> Evaluation:
    """Return the skill matrix with the row of the model after a step, or of the base model for step -1.

    Args:
        run: the run.
        step: the step.
        tests: the skills with items.
        executor: where answers are generated.
        part: unfinished folder of the evaluation, where finished answers and harnesses are kept.

    Raises:
        ConfigError: the command of a harness failed.
        DataError: its result cannot be used.
        StoreError: it asks something else than in the rows before.
    """
    skills = run.settings.evaluation
    # What had arrived then, so that a test that is made again later gives the same table.
    now = max(step, 0)
    arrived = run.pool(now)
    withdrawn = withdrawn_datasets(run.pool_folder, until=now)
    introduced_at = introductions(skills, run.settings.stream, arrived.first_step_of_skill(), withdrawn=withdrawn)
    frequency = frequencies(skills, arrived.skill_counts(step + 1))
    # That of the step before, unless tests were added later.
    previous = run.newest(Evaluation, before=step)
    harnesses = read_harnesses(skills)
    # First, as answers to items are forgotten once all of them are there.
    results = _run_harnesses(run, step, harnesses, previous, part)
    answered = None
    if tests:
        from adaptinf.evaluation.generation import evaluate

        own = np.array([skill.command is None for skill in skills])
        answered = evaluate(
            learner_to_test(run, step),
            tests,
            step=step,
            introduced_at=introduced_at[own],
            frequency=frequency[own],
            previous=previous,
            executor=executor,
            progress=run.progress,
            out=part,
            engine=run.settings.evaluation_engine,
        )
        if not harnesses:
            return answered
    order = [skill.skill for skill in skills]
    evaluation = joined(
        answered,
        harnesses,
        results,
        order=order,
        step=step,
        introduced_at=introduced_at,
        frequency=frequency,
        previous=previous,
        part=part,
    )
    for test in harnesses:
        tidy(test, results[test.skill], part)
    return evaluation


def _run_harnesses(
    run: Run, step: int, tests: Sequence[HarnessTest], previous: Evaluation | None, part: Path
) -> dict[str, HarnessResult]:
    if not tests:
        return {}
    return run_harnesses(
        tests,
        _step_model(run, step),
        part=part,
        folder=Path(run.settings.commands_folder or "."),
        check=lambda test, result: check_harness(run, test, previous, result),
        progress=run.progress,
    )


def _step_model(run: Run, step: int) -> StepModel:
    """Return the model after a step as commands are told of it.

    Where its weights are those of the base with several adapters on top of them, it exists only once they are merged.
    """
    recipe, base = learner_to_test(run, step), run.settings.model.path
    is_merged = bool(recipe.merged) and run.settings.training.adapter == "merge"
    return StepModel(
        model=None if is_merged else _absolute(recipe.model.path),
        adapter="" if is_merged or not recipe.merged else _absolute(str(recipe.merged[-1])),
        write_merged=partial(_write_merged, recipe, base),
        key=_weights_key(run, recipe),
        values={"step": str(step), "seed": str(run.settings.seed)},
    )


def _write_merged(recipe: LearnerRecipe, base: str, out: Path) -> None:
    from adaptinf.models.merged import write_merged

    write_merged(recipe, out, base=base)


def _absolute(path: str) -> str:
    """Return the absolute path of a folder, as commands run in another one; a name of the hub as it is."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def _weights_key(run: Run, recipe: LearnerRecipe) -> str:
    """Return what stands for the weights that a recipe makes: the content of the base, and of what steps trained."""
    kept = KeptBase.read(run.base_file)
    models = {} if kept is None else {key: model.digest for key, model in kept.models.items()}
    folders = [Path(recipe.model.path), *recipe.merged]
    sums = [path.read_bytes() for folder in folders if (path := folder / checksums.CHECKSUMS).is_file()]
    return xxhash.xxh3_64_hexdigest(repr((sorted(models.items()), sums)).encode())
