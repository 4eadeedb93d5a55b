"""Which samples of a pool the model cannot be trained on, and why."""

from __future__ import annotations

from collections.abc import Set
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.data import Checked, Features, SavedPruning
from adaptinf.data.checked import load_unusable
from adaptinf.errors import ModelError
from adaptinf.pool.corrections import excluded_ids, exclusions, restored_ids
from adaptinf.runs import Run
from adaptinf.runs.step_folders import StepFolders

FIRST_SAMPLES = 2000
"""Samples of a new dataset that are looked at when it is added; its step looks at all of them."""


def unusable_samples(run: Run, step: int) -> dict[str, str]:
    """Return the id of each sample that is not selectable in a step -> why.

    They are those that a check found when their dataset arrived, and those that extraction found in this step: without
    an answer token, with an image that cannot be opened, or refused by the processor or the model.
    """
    found: dict[str, str] = {}
    for number in range(step + 1):
        found |= load_unusable(run.stage_folder(number, Checked))
    return found | load_unusable(run.stage_folder(step, Features))


def unusable_counts(run: Run, *, folders: StepFolders | None = None) -> list[int | None]:
    """Return for each step how many samples of its pool are not selectable; None for a step that has not looked yet.

    One pass over the steps: a sample that a step prunes is not counted in later ones, unless it was restored; one that
    is excluded is not counted.

    Args:
        run: the run.
        folders: what its steps hold; None: they are listed.
    """
    folders = StepFolders.of(run) if folders is None else folders
    restored, known = set(restored_ids(run.pool_folder)), set[str]()
    counts: list[int | None] = []
    has_excluded = bool(exclusions(run.pool_folder))
    for step in range(len(run.settings.stream)):
        known |= _unusable_ids(run, folders, step, Checked)
        if folders.has(step, Checked):
            excluded = excluded_ids(run.pool_folder, until=step) if has_excluded else {}
            counts.append(len((known | _unusable_ids(run, folders, step, Features)) - excluded.keys()))
        else:
            counts.append(None)
        if known and folders.has(step, SavedPruning):
            pruned = SavedPruning.load_ids(run.stage_folder(step, SavedPruning))
            # Of all that was pruned, which may be a million, only those that are known to be unusable.
            is_known = pc.is_in(pruned, value_set=pa.array(list(known), pa.string()))
            known -= set(pruned.filter(is_known).to_pylist()) - restored
    return counts


def _unusable_ids(run: Run, folders: StepFolders, step: int, kind: type[Checked] | type[Features]) -> Set[str]:
    return load_unusable(run.stage_folder(step, kind)).keys() if folders.has(step, kind) else set()


def first_findings(run: Run, step: int) -> list[str]:
    """Return what the model cannot use of the first samples of a step's dataset, one line each.

    Nothing is refused here: the dataset is in the pool, and its step decides.
    """
    from adaptinf.models.checks import survey
    from adaptinf.models.loading import load_reader
    from adaptinf.models.quiet import quiet_libraries

    pool = run.pool(step)
    new = pool.ids[pool.arrived == step]
    if not len(new):
        return []
    try:
        with quiet_libraries():
            reader = load_reader(run.settings.model)
            found = survey(reader, pool.view(islice(new, FIRST_SAMPLES)))
    except ModelError as error:
        return [f"not looked at with the model: {error}"]
    return found.lines(run.settings.model.max_length)
