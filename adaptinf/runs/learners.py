"""Which weights a stage works with: the base model, and what earlier steps of the run made of it."""

from __future__ import annotations

from dataclasses import replace

from adaptinf.data import Trained
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.runs import Run


def learner_before(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the learner that training at `step` starts from: the model after the step before."""
    training = run.settings.training
    if training.tune == "full":
        return learner_after(run, step - 1)
    if training.adapter == "continue" and step > 0:
        return LearnerRecipe(model=run.settings.model, continued=run.stage_folder(step - 1, Trained))
    seed_step = step if training.adapter == "merge" else 0
    return replace(learner_after(run, step - 1), new_adapter_seed=run.seed("adapter", seed_step))


def learner_after(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model after `step` with every adapter merged into its weights; step -1: the base model."""
    model, training = run.settings.model, run.settings.training
    if training.tune == "full" and step >= 0:
        return LearnerRecipe(model=model.model_copy(update={"path": str(run.stage_folder(step, Trained))}))
    first = 0 if training.adapter == "merge" else max(step, 0)
    return LearnerRecipe(
        model=model, merged=tuple(run.stage_folder(older, Trained) for older in range(first, step + 1))
    )


def learner_that_measures(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model that extraction measures with: the learner before training, or a proxy.

    The proxy is what `extraction.model` names.
    """
    proxy = run.settings.extraction.model
    if proxy is not None:
        return LearnerRecipe(model=run.settings.model.model_copy(update={"path": proxy}))
    return learner_before(run, step)
