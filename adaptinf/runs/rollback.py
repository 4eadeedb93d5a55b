"""Taking the training of a step back, and giving it back: two folders of the step are exchanged, whatever is killed.

    model/            what later steps go on from: that of the step before, byte for byte
    model-rejected/   what the step trained

Which of the two a step shall have follows from its evaluation, which is complete before the exchange begins. So each
call makes what is still to be done of it, from the folders that it finds.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from adaptinf.data import Evaluation, Trained
from adaptinf.errors import StoreError
from adaptinf.runs import Run, events
from adaptinf.runs.cache import linked_copy
from adaptinf.runs.damage import weights_folder
from adaptinf.runs.gates import is_rolled_back, was_taken_back
from adaptinf.storage import checksums, store, verified
from adaptinf.storage.drafts import fsync


def place_model(run: Run, step: int) -> None:
    """Give a tested step the model that its evaluation says; nothing is done where it has that already."""
    if is_rolled_back(run, step):
        _take_back(run, step)
    elif run.rejected_model_folder(step).exists():
        _give_back(run, step)


def has_trained(run: Run, step: int) -> bool:
    """Tell whether a step has trained and its model was taken back, so that a missing `model` is not trained again."""
    return run.rejected_model_folder(step).exists() or is_rolled_back(run, step)


def folder_to_test(run: Run, step: int) -> Path:
    """Return the folder of what a step trained, also where that was taken back; other weights are not its.

    Raises:
        StoreError: it was taken back, and the folder was deleted since; or as `weights_folder`.
    """
    rejected = run.rejected_model_folder(step)
    if rejected.exists():
        verified.check_folder(rejected)
        return rejected
    folder = weights_folder(run, step)
    if was_taken_back(run, step):
        raise StoreError(
            f"{rejected} is missing: step {step} was rolled back, and only the model that it trained can be tested "
            f"again; bring back a copy of that folder, or of {run.stage_folder(step, Evaluation)}"
        )
    return folder


def _take_back(run: Run, step: int) -> None:
    model, rejected = run.stage_folder(step, Trained), run.rejected_model_folder(step)
    if model.exists() and (rejected.exists() or was_taken_back(run, step)):
        return
    # Before the exchange, so that the end of a command knows of it whenever it is killed.
    events.note_rollback(run.events_file, step)
    part = _model_before(run, step)
    if model.exists():
        os.rename(model, rejected)
        fsync(model.parent)
    os.rename(part, model)
    fsync(model.parent)


def _give_back(run: Run, step: int) -> None:
    model = run.stage_folder(step, Trained)
    store.discard(model)
    os.rename(run.rejected_model_folder(step), model)
    fsync(model.parent)


def _model_before(run: Run, step: int) -> Path:
    """Return a complete unfinished folder with the model of the step before; without weights where there is none."""
    part = store.part_of(run.stage_folder(step, Trained))
    if step:
        linked_copy(_folder_before(run, step), part)
    else:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        Trained(info={"samples": 0, "optimizer_steps": 0}).save(part)
        checksums.seal(part)
    for path in (*part.rglob("*"), part):
        fsync(path)
    return part


def _folder_before(run: Run, step: int) -> Path:
    return weights_folder(run, step - 1)
