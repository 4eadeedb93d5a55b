"""Which weights a stage works with: the base model, and what earlier steps of the run made of it."""

from __future__ import annotations

from adaptinf.data import Trained
from adaptinf.models.adapters import begin_adapter, load_adapter, merge_adapter
from adaptinf.models.loading import Learner, load
from adaptinf.runs import Run


def learner_before(run: Run, step: int) -> Learner:
    """Return the learner as training at `step` starts: the model after the step before, with its adapter."""
    training = run.settings.training
    if training.tune == "full":
        return learner_after(run, step - 1)
    if training.adapter == "continue" and step > 0:
        return load_adapter(load(run.settings.model), run.stage_folder(step - 1, Trained))
    seed_step = step if training.adapter == "merge" else 0
    return begin_adapter(learner_after(run, step - 1), run.seed("adapter", seed_step))


def learner_after(run: Run, step: int) -> Learner:
    """Return the model after `step` with every adapter merged into its weights; step -1 is the base model."""
    model, training = run.settings.model, run.settings.training
    if training.tune == "full" and step >= 0:
        trained = model.model_copy(update={"path": str(run.stage_folder(step, Trained))})
        return load(trained)
    learner = load(model)
    first = 0 if training.adapter == "merge" else max(step, 0)
    for older in range(first, step + 1):
        learner = merge_adapter(load_adapter(learner, run.stage_folder(older, Trained)))
    return learner


def learner_that_measures(run: Run, step: int) -> Learner:
    """Return what extraction looks through: the learner before training, or the proxy that `extraction.model` names."""
    proxy = run.settings.extraction.model
    if proxy is not None:
        return load(run.settings.model.model_copy(update={"path": proxy}))
    return learner_before(run, step)
