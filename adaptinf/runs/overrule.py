"""adaptinf restore and adaptinf withdraw: the user overrules which samples the pool holds."""

from __future__ import annotations

from dataclasses import dataclass

from adaptinf.data import SavedPruning
from adaptinf.errors import ConfigError
from adaptinf.pool.corrections import (
    RESTORED,
    WITHDRAWN,
    note_restored,
    note_withdrawn,
    restored_ids,
    withdrawn_datasets,
)
from adaptinf.pool.lookup import ID_FORM, did_you_mean, find, find_rejected, similar_ids
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run, events
from adaptinf.runs.damage import check_datasets
from adaptinf.words import known_names


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What `restore` or `withdraw` did to the pool."""

    name: str
    """Id of the sample, or name of the dataset."""
    from_step: int
    """First step whose pool is corrected."""
    is_new: bool
    """False: an earlier call did the same, and this one changed nothing."""
    text: str
    """What happened, in one sentence."""

    def __repr__(self) -> str:
        return f"Correction({self.text!r})"


def restore(run: Run, id: str) -> Correction:
    """Restore a pruned sample permanently; a repeated call changes nothing.

    The next step finds it in the pool, and no step prunes it again. The caller holds the run's lock
    (`Run.locked`).

    Raises:
        ConfigError: no dataset has the id (similar ones are named), it was never pruned, or its dataset is withdrawn.
    """
    check_datasets(run)
    stored = find(stored_datasets(run.pool_folder), id)
    if stored is None:
        rejected = find_rejected(run.pool_folder, id)
        if rejected is not None:
            raise ConfigError(f"{id} was never in the pool: {rejected.file} row {rejected.row}, {rejected.reason}")
        hint = did_you_mean(similar_ids(run.pool_folder, id)) or ID_FORM
        raise ConfigError(f"{run.folder} has no sample {id!r}{hint}")
    if stored.dataset.name in withdrawn_datasets(run.pool_folder):
        raise ConfigError(
            f"{id} belongs to {stored.dataset.name}, which is withdrawn; single samples of it cannot be restored"
        )
    restored = restored_ids(run.pool_folder)
    if id in restored:
        text = f"{id} was restored already: it is in the pool from step {restored[id]} on"
        return Correction(name=id, from_step=restored[id], is_new=False, text=text)
    pruned_at = pruning_step(run, id)
    if pruned_at is None:
        raise ConfigError(f"{id} is in the pool: it was never pruned, so there is nothing to restore")
    step = run.num_begun
    note_restored(run.pool_folder, id, step)
    events.note_correction(run.events_file, step, RESTORED, id)
    text = f"{id}, pruned at step {pruned_at}, is in the pool again from step {step} on; it will not be pruned again"
    return Correction(name=id, from_step=step, is_new=True, text=text)


def withdraw(run: Run, name: str) -> Correction:
    """Remove a whole dataset from the pool; a repeated call changes nothing.

    The next step finds none of its samples in the pool. The model keeps what it was trained on, and the folder stays.
    The caller holds the run's lock (`Run.locked`).

    Raises:
        ConfigError: the stream has no dataset of that name; similar ones and all others are named.
    """
    names = [dataset.name for dataset in run.config.stream]
    if name not in names:
        raise ConfigError(f"{run.folder} has no dataset {name!r}; {known_names(name, names)}")
    withdrawn = withdrawn_datasets(run.pool_folder)
    if name in withdrawn:
        text = f"{name} was withdrawn already: it is out of the pool from step {withdrawn[name]} on"
        return Correction(name=name, from_step=withdrawn[name], is_new=False, text=text)
    step = run.num_begun
    note_withdrawn(run.pool_folder, name, step)
    events.note_correction(run.events_file, step, WITHDRAWN, name)
    text = (
        f"{name} is withdrawn before its step: that step will train on none of its samples"
        if names.index(name) >= step
        else f"{name} is out of the pool from step {step} on; the weights keep what was trained on it, "
        f"and its rows stay in {run.dataset_folder(names.index(name))}"
    )
    return Correction(name=name, from_step=step, is_new=True, text=text)


def pruning_step(run: Run, id: str) -> int | None:
    """Return the step that pruned a sample; None if no step did."""
    for step in range(run.num_finished):
        pruning = run.load(step, SavedPruning)
        if pruning is not None and id in pruning.table["id"]:
            return step
    return None
