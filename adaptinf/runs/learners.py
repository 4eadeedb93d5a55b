"""Which weights a stage works with: the base model, and what earlier steps of the run made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adaptinf.config import ModelConfig, RunConfig
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.runs import Run
from adaptinf.runs.damage import weights_folder


def learner_at_start(settings: RunConfig, adapter_seed: int) -> LearnerRecipe:
    """Return how to make the learner that a run's first step starts from.

    That is the model with the adapter of `model.adapter`, or with a new one; under `adapter: merge` with a new one on
    top of it, and in full tuning with none.
    """
    model, training = settings.model, settings.training
    base = LearnerRecipe(model=model, merged=_given_adapter(model))
    if training.tune == "full":
        return base
    if training.adapter == "continue" and model.adapter is not None:
        return LearnerRecipe(model=model, continued=Path(model.adapter))
    return replace(base, new_adapter_seed=adapter_seed)


def _given_adapter(model: ModelConfig) -> tuple[Path, ...]:
    return () if model.adapter is None else (Path(model.adapter),)


def learner_before(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the learner that training at `step` starts from: the model after the step before."""
    training = run.settings.training
    if step == 0:
        return learner_at_start(run.settings, run.seed("adapter", 0))
    if training.tune == "full":
        return learner_after(run, step - 1)
    if training.adapter == "continue":
        return LearnerRecipe(model=run.settings.model, continued=weights_folder(run, step - 1))
    return replace(learner_after(run, step - 1), new_adapter_seed=run.seed("adapter", step))


def learner_after(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model after `step` with every adapter merged into its weights; step -1: the base model."""
    model, training = run.settings.model, run.settings.training
    if training.tune == "full" and step >= 0:
        return LearnerRecipe(model=model.model_copy(update={"path": str(weights_folder(run, step))}))
    first = 0 if training.adapter == "merge" else max(step, 0)
    trained = tuple(weights_folder(run, older) for older in range(first, step + 1))
    # A continued adapter holds everything since `model.adapter`.
    given = _given_adapter(model) if training.adapter == "merge" or step < 0 else ()
    return LearnerRecipe(model=model, merged=given + trained)


def learner_that_measures(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model that extraction measures with: the learner before training, or a proxy.

    The proxy is what `extraction.model` names.
    """
    proxy = run.settings.extraction.model
    if proxy is not None:
        return LearnerRecipe(model=run.settings.model.model_copy(update={"path": proxy}))
    return learner_before(run, step)
