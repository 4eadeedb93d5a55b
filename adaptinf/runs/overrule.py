"""adaptinf exclude, restore and withdraw: the user overrules which samples the pool holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.data import SavedPruning
from adaptinf.errors import ConfigError
from adaptinf.pool.corrections import (
    EXCLUDED,
    RESTORED,
    WITHDRAWN,
    Exclusion,
    excluded_ids,
    exclusions,
    kept_ids,
    note_excluded,
    note_included,
    note_restored,
    note_withdrawn,
    restored_ids,
    withdrawn_datasets,
)
from adaptinf.runs import Run, events
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.sample_names import samples_named
from adaptinf.words import counted, has_controls, known_names

LONGEST_REASON = 300
"""Characters of a reason for an exclusion."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What `exclude`, `restore` or `withdraw` did to the pool."""

    name: str
    """Id of the sample, name of the dataset, or the file of ids."""
    from_step: int
    """First step whose pool is corrected."""
    is_new: bool
    """False: an earlier call did the same, and this one changed nothing."""
    text: str
    """What happened, in one sentence."""

    def __repr__(self) -> str:
        return f"Correction({self.text!r})"


def exclude(run: Run, named: str, *, why: str = "") -> Correction:
    """Take samples out of the pool, an id or a file of ids; a repeated call changes nothing.

    The next step does not find them in the pool. The model keeps what it was trained on, and the rows stay. The caller
    holds the run's lock (`Run.locked`).

    Raises:
        ConfigError: an id is unknown or of a rejected row (how many, and similar ids), or the reason is not one line.
        DataError: the file cannot be read.
    """
    check_datasets(run)
    if has_controls(why) or len(why) > LONGEST_REASON:
        raise ConfigError(f"--why {why[:80]!r} must be one line of at most {LONGEST_REASON} characters")
    ids, step = samples_named(run, named), run.num_begun
    # A step that its user has deleted comes before those that an earlier call was for.
    excluded = excluded_ids(run.pool_folder, until=step)
    new = [id for id in ids if id not in excluded]
    if new:
        note_excluded(run.pool_folder, new, step, why.strip())
        events.note_correction(run.events_file, step, EXCLUDED, _number(new))
    before = len(ids) - len(new)
    told = (
        [f"{_what(new)} out of the pool from step {step} on{f' ({why.strip()})' if why.strip() else ''}"] if new else []
    )
    told += [f"{_what([id for id in ids if id in excluded])} excluded already"] if before else []
    text = "; ".join(told) + _excluded_as_well(run, new)
    return Correction(name=named, from_step=step if new else excluded[ids[0]].step, is_new=bool(new), text=text)


def _number(ids: Sequence[str]) -> str:
    """Return one id, or how many they are."""
    return ids[0] if len(ids) == 1 else counted(len(ids), "sample")


def _what(ids: Sequence[str]) -> str:
    """Return one id, or their number, with the verb."""
    return f"{ids[0]} is" if len(ids) == 1 else f"{len(ids):,} samples are"


def _excluded_as_well(run: Run, ids: Sequence[str]) -> str:
    """Return what else holds for samples that were excluded, as the end of a sentence."""
    recorded = kept_ids(run.pool_folder)
    kept = [id for id in ids if id in recorded]
    gone = pruning_steps(run, ids).keys() - restored_ids(run.pool_folder).keys()
    told = [f"{len(gone):,} of them pruned before"] if gone else []
    told += [f"{len(kept):,} of them kept: take {'it' if len(kept) == 1 else 'them'} out of selection.keep, which the "
             "next step refuses otherwise"] if kept else []  # fmt: skip
    return f"; {', '.join(told)}" if told else ""


def restore(run: Run, named: str) -> Correction:
    """Undo the last thing that took samples out of the pool, an id or a file of ids; a repeated call changes nothing.

    The next step finds them in the pool. One that was pruned is not pruned again, one that was excluded is an ordinary
    sample again. The caller holds the run's lock (`Run.locked`).

    Raises:
        ConfigError: an id is unknown (similar ones are named), or its dataset is withdrawn; or the only sample that is
            named was never taken out.
        DataError: the file cannot be read.
    """
    check_datasets(run)
    ids, withdrawn = samples_named(run, named), withdrawn_datasets(run.pool_folder)
    if out := [id for id in ids if id.partition("/")[0] in withdrawn]:
        more = f" (and {len(out) - 1:,} more)" if len(out) > 1 else ""
        raise ConfigError(
            f"{out[0]}{more} belongs to {out[0].partition('/')[0]}, which is withdrawn; single samples of it cannot be "
            "restored"
        )
    step, excluded = run.num_begun, excluded_ids(run.pool_folder)
    pruned = pruning_steps(run, ids)
    undone = [id for id in ids if id in excluded]
    back = pruned.keys() - restored_ids(run.pool_folder, until=step).keys()
    unpruned = [id for id in ids if id in back and id not in excluded]
    if undone:
        note_included(run.pool_folder, undone, step)
        events.note_correction(run.events_file, step, EXCLUDED, _number(undone))
    if unpruned:
        note_restored(run.pool_folder, unpruned, step)
        events.note_correction(run.events_file, step, RESTORED, _number(unpruned))
    if not undone and not unpruned:
        return _nothing_restored(run, named, ids)
    if len(ids) == 1:
        text = _restored_one(ids[0], step, excluded.get(ids[0]), pruned.get(ids[0]), is_out=ids[0] in back)
        return Correction(name=named, from_step=step, is_new=True, text=text)
    counts = {"excluded": len(undone), "pruned, and not pruned again": len(unpruned)}
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    still = len(back.intersection(undone))
    rest = len(ids) - len(undone) - len(unpruned)
    text = f"from step {step} on {counted(len(undone) + len(unpruned), 'sample')} restored ({told})"
    text += f"; {still:,} of them pruned before: restore them again" if still else ""
    text += f"; {rest:,} in the pool already" if rest else ""
    return Correction(name=named, from_step=step, is_new=True, text=text)


def _restored_one(id: str, step: int, exclusion: Exclusion | None, pruned: int | None, *, is_out: bool) -> str:
    if exclusion is None:
        return f"{id}, pruned at step {pruned}, is in the pool again from step {step} on; it will not be pruned again"
    if is_out:
        return (
            f"{id} is excluded no longer from step {step} on, but it was pruned at step {pruned} before; restore it "
            "again to bring it back"
        )
    return f"{id}, excluded from step {exclusion.step} on, is in the pool again from step {step} on"


def _nothing_restored(run: Run, named: str, ids: Sequence[str]) -> Correction:
    """Return that all samples are in the pool already.

    Raises:
        ConfigError: the only one was never taken out.
    """
    since = restored_ids(run.pool_folder)
    since |= {id: found[-1].step for id, found in exclusions(run.pool_folder).items() if found[-1].why is None}
    known = [since[id] for id in ids if id in since]
    if len(ids) > 1:
        text = f"all {len(ids):,} samples are in the pool already"
        return Correction(name=named, from_step=max(known, default=0), is_new=False, text=text)
    if not known:
        raise ConfigError(f"{ids[0]} is in the pool: it was never pruned or excluded, so there is nothing to restore")
    text = f"{ids[0]} was restored already: it is in the pool from step {known[0]} on"
    return Correction(name=named, from_step=known[0], is_new=False, text=text)


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
    step = run.num_begun
    withdrawn = withdrawn_datasets(run.pool_folder, until=step)
    if name in withdrawn:
        text = f"{name} was withdrawn already: it is out of the pool from step {withdrawn[name]} on"
        return Correction(name=name, from_step=withdrawn[name], is_new=False, text=text)
    note_withdrawn(run.pool_folder, name, step)
    events.note_correction(run.events_file, step, WITHDRAWN, name)
    text = (
        f"{name} is withdrawn before its step: that step will train on none of its samples"
        if names.index(name) >= step
        else f"{name} is out of the pool from step {step} on; the weights keep what was trained on it, "
        f"and its rows stay in {run.dataset_folder(names.index(name))}"
    )
    return Correction(name=name, from_step=step, is_new=True, text=text)


def pruning_steps(run: Run, ids: Collection[str]) -> dict[str, int]:
    """Return those of some samples that a step pruned, with the first such step."""
    wanted, found = pa.array(list(ids), pa.string()), dict[str, int]()
    for step in range(run.num_finished):
        if run.has(step, SavedPruning):
            pruned = SavedPruning.load_ids(run.stage_folder(step, SavedPruning))
            for id in pruned.filter(pc.is_in(pruned, value_set=wanted)).to_pylist():
                found.setdefault(id, step)
    return found
