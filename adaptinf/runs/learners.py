"""Which weights a stage works with: the base model, and what earlier steps of the run made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adaptinf.config import ModelConfig, RunConfig
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.runs import Run
from adaptinf.runs.damage import weights_folder
from adaptinf.runs.gates import kept_steps, newest_kept
from adaptinf.runs.rollback import folder_to_test


def learner_at_start(settings: RunConfig, adapter_seed: int) -> LearnerRecipe:
    """Return how to make the learner that a run's first step starts from.

    That is the model with the adapter of `model.adapter`, or with a new one; under `adapter: merge` with a new one on
    top of it, and in full tuning with none.
    """
    model, training = settings.model, settings.training
    base = LearnerRecipe(model=model, merged=_given_adapter(model), num_gpus=settings.num_gpus)
    if training.tune == "full":
        return base
    if training.adapter == "continue" and model.adapter is not None:
        return replace(base, merged=(), continued=Path(model.adapter))
    return replace(base, new_adapter_seed=adapter_seed)


def _given_adapter(model: ModelConfig) -> tuple[Path, ...]:
    return () if model.adapter is None else (Path(model.adapter),)


def learner_before(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the learner that training at `step` starts from: the model after the step before."""
    training = run.settings.training
    is_continued = training.tune == "lora" and training.adapter == "continue"
    newest = newest_kept(run, step - 1)
    if step == 0 or (is_continued and newest < 0):
        return learner_at_start(run.settings, run.seed("adapter", 0))
    if is_continued:
        folder = weights_folder(run, newest)
        return LearnerRecipe(model=run.settings.model, continued=folder, num_gpus=run.settings.num_gpus)
    before = learner_after(run, step - 1)
    return before if training.tune == "full" else replace(before, new_adapter_seed=run.seed("adapter", step))


def learner_after(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model after `step` with every adapter merged into its weights; step -1: the base model.

    What a step has trained and the gate has taken back is no part of it.
    """
    steps = kept_steps(run, step) if _is_merged_anew(run) else [newest_kept(run, step)]
    return _with_weights(run, tuple(weights_folder(run, kept) for kept in steps if kept >= 0))


def learner_to_test(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model that `step` trained, as `learner_after`, also where the gate has taken it back."""
    if step < 0:
        return learner_after(run, step)
    earlier = kept_steps(run, step - 1) if _is_merged_anew(run) else []
    return _with_weights(run, (*(weights_folder(run, kept) for kept in earlier), folder_to_test(run, step)))


def _is_merged_anew(run: Run) -> bool:
    """Tell whether the model after a step has the adapters of all steps before."""
    return run.settings.training.tune == "lora" and run.settings.training.adapter == "merge"


def _with_weights(run: Run, folders: tuple[Path, ...]) -> LearnerRecipe:
    """Return how to make the model with the weights that steps trained; none: the base model."""
    model, num_gpus = run.settings.model, run.settings.num_gpus
    if run.settings.training.tune == "full" and folders:
        return LearnerRecipe(model=model.model_copy(update={"path": str(folders[-1])}), num_gpus=num_gpus)
    # A continued adapter holds everything since `model.adapter`.
    given = _given_adapter(model) if run.settings.training.adapter == "merge" or not folders else ()
    return LearnerRecipe(model=model, merged=given + folders, num_gpus=num_gpus)


def learner_that_measures(run: Run, step: int) -> LearnerRecipe:
    """Return how to make the model that extraction measures with: the learner before training, or a proxy.

    The proxy is what `extraction.model` names; it is not spread over several GPUs.
    """
    proxy = run.settings.extraction.model
    if proxy is not None:
        return LearnerRecipe(model=run.settings.model.model_copy(update={"path": proxy}))
    return learner_before(run, step)
