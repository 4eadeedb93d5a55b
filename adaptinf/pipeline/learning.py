"""The stages that change or test the model."""

from __future__ import annotations

from pathlib import Path

from adaptinf.data import Evaluation, Selection, Trained
from adaptinf.distributed.devices import launcher, leaves_this_process, num_devices
from adaptinf.evaluation import metrics
from adaptinf.evaluation.skills import SkillTest
from adaptinf.executors import Executor
from adaptinf.pipeline.gating import note_gate, with_gate
from adaptinf.pipeline.measuring import needs_features
from adaptinf.pipeline.watched import with_model
from adaptinf.pool import Pool
from adaptinf.progress import in_one
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_before
from adaptinf.runs.outside_training import train_with_command
from adaptinf.runs.tested import averages_of
from adaptinf.runs.testing import evaluate_step
from adaptinf.runs.trainer_command import command_of
from adaptinf.training import save_weights, train
from adaptinf.training.ranks import TrainWork, train_in_ranks


def learn(run: Run, step: int, pool: Pool, selection: Selection, executor: Executor, part: Path) -> Trained:
    """Train on the selected samples, with the built-in trainer, in this process or on several devices, or a command."""
    if not len(selection.ids):
        # An empty dataset at the start of a stream: nothing to train on, the model stays unchanged.
        save_weights(learner_before(run, step).make(), part)
        return Trained(info={"samples": 0, "optimizer_steps": 0})
    command = command_of(run.settings)
    if command is not None:
        return train_with_command(run, step, pool, selection.ids, command, part, is_measured=needs_features(run))
    samples, recipe, seed = pool.view(selection.ids), learner_before(run, step), run.seed("model", step)
    number = num_devices(run.settings)
    if not leaves_this_process(run.settings, number):
        with in_one(run.progress, "load the model", 1, "models"):
            learner = recipe.make()
        return train(samples, learner, run.settings.training, out=part, seed=seed, progress=run.progress)
    executor.close()  # its workers hold what the ranks need: a Ray cluster's GPUs, or memory of this machine's
    work = TrainWork(samples=samples, recipe=recipe, config=run.settings.training, out=part.absolute(), seed=seed)
    return train_in_ranks(work, launcher(run.settings, number), run.progress)


def test_model(run: Run, step: int, tests: list[SkillTest], executor: Executor) -> None:
    """Add one row to the skill matrix, judged by the gate: the model after a step, or the base model for step -1."""

    def compute(part: Path) -> Evaluation:
        return with_gate(run, step, evaluate_step(run, step, tests, executor, part))

    is_new = not run.has(step, Evaluation)
    evaluation = with_model(run, step, Evaluation, compute)
    if is_new:
        note_gate(run, step)
    averages = averages_of(evaluation.scores)
    micro = metrics.average_accuracy(evaluation.matrix, evaluation.frequency)
    numbers = {"average_accuracy": averages.strict, "micro_accuracy": micro, "average_tolerant": averages.tolerant}
    rejected = {"rejected": True} if evaluation.gate is not None and evaluation.gate.is_rejected else {}
    run.log_metrics(step, Evaluation.stage, {**numbers, **rejected})
