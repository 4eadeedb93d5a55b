"""One step's training by the user's own trainer: what it is given, run, and what comes back."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from adaptinf.data import Trained
from adaptinf.errors import AdaptError, DataError, ModelError
from adaptinf.extraction.meter import open_meter
from adaptinf.models.loading import Learner
from adaptinf.models.merged import write_merged
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.outside import Command
from adaptinf.pool import Pool
from adaptinf.runs import Run
from adaptinf.runs.damage import weights_folder
from adaptinf.runs.gates import kept_steps
from adaptinf.runs.learners import learner_before
from adaptinf.runs.trainer_command import PLACE, folder_of, timeout_of
from adaptinf.runs.trainer_data import adapter_to_train, clear, unreadable_images, write_trainer_data
from adaptinf.storage.store import part_of
from adaptinf.training.outside import Task, train_outside
from adaptinf.training.written import Start
from adaptinf.words import shortened

MERGED = "merged"
"""In the unfinished folder of the training: the model that a trainer starts from, with all adapters in its weights."""
SEEDS = 2**31
"""Seeds of trainers are below."""


def train_with_command(
    run: Run, step: int, pool: Pool, ids: np.ndarray, command: Command, part: Path, *, is_measured: bool
) -> Trained:
    """Have the user's trainer train on samples of the pool, and return what is known of that.

    Args:
        run: the run.
        step: number of the step.
        pool: as the step finds it.
        ids: of the selected samples; those with an image that cannot be opened are left out.
        command: the trainer.
        part: the unfinished folder of the training.
        is_measured: whether steps measure anything.

    Raises:
        ConfigError: the trainer failed, or took too long.
        DataError: the images of all samples, or of many consecutive ones, cannot be opened.
        ModelError: what it wrote cannot be used.
    """
    settings, training = run.settings, run.settings.training
    unreadable = unreadable_images(pool.view(ids), run.progress)
    kept = ids[~np.isin(ids, list(unreadable))]
    if not len(kept):
        raise DataError(
            f"no image of {', '.join(sorted(unreadable)[:3])} can be opened; put the image folder back, or, "
            "if it has moved, name its new place with adaptinf relocate RUN OLD NEW"
        )
    data = write_trainer_data(pool.view(kept), part, training.format, run.progress)
    start = _start(run, step, part)
    values = {
        "data": str(data.file),
        "images": str(data.folder),
        "model": start.model,
        "adapter": adapter_to_train(start.recipe.continued, part),
        "seed": str(run.seed(Trained.stage, step) % SEEDS),
        "epochs": str(training.epochs),
        "learning_rate": str(training.learning_rate),
        "step": str(step),
    }
    task = Task(
        command=command,
        folder=folder_of(settings),
        timeout=timeout_of(settings),
        values=values,
        start=start,
        num_samples=data.num_samples,
        check=partial(_check_measurable, run) if is_measured and _is_continued(run) else _nothing,
    )
    trained = train_outside(task, training, out=part, progress=run.progress)
    clear(part)
    shutil.rmtree(part / MERGED, ignore_errors=True)
    return replace(trained, info={**trained.info, "samples": len(ids), "unreadable": sorted(unreadable)})


def _start(run: Run, step: int, part: Path) -> Start:
    """Return what a step's training starts from; under `adapter: merge` the model is written for the trainer."""
    recipe, training = replace(learner_before(run, step), new_adapter_seed=None), run.settings.training
    model = recipe.model.path
    if recipe.merged:
        model = str(_merged(recipe, part, run.settings.model.path))
    earlier = tuple(weights_folder(run, older) for older in kept_steps(run, step - 1))
    return Start(recipe=recipe, model=model, tune=training.tune, place=PLACE, earlier=earlier)


def _merged(recipe: LearnerRecipe, part: Path, base: str) -> Path:
    """Return the folder of a model with its adapters merged, written once for all attempts."""
    folder = part / MERGED
    if not folder.exists():
        unfinished = part_of(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        write_merged(recipe.unquantised(), unfinished, base=base)
        os.rename(unfinished, folder)
    return folder


def _is_continued(run: Run) -> bool:
    """Tell whether the adapter that is trained now is that of the model that measures next."""
    training = run.settings.training
    return training.tune == "lora" and training.adapter == "continue" and run.settings.extraction.model is None


def _check_measurable(run: Run, learner: Learner) -> None:
    """Check that the next step can measure with what was trained, which fails for some kinds and places of adapters.

    Raises:
        ModelError: it cannot.
    """
    try:
        with open_meter(learner, run.settings.extraction, seed=run.settings.seed):
            pass
    except AdaptError as error:
        raise ModelError(
            f"{PLACE} wrote an adapter that the next step cannot measure with: {shortened(str(error), 300)}; or set "
            "training.adapter: merge"
        ) from error


def _nothing(_: Learner) -> None:
    return None
