"""`selection.keep`: the file of ids that are never lost, judged before a step measures, and copied into the run.

The copy is a log of the pool, each id with the first step that it applies to: the file may grow between steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError, DataError
from adaptinf.pool import Pool
from adaptinf.pool.corrections import KEPT, excluded_ids, kept_ids, note_kept, withdrawn_datasets
from adaptinf.pool.id_lists import named, read_ids
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run, events
from adaptinf.runs.layout import POOL
from adaptinf.runs.methods import cap_of, method_traits
from adaptinf.runs.sample_names import ids_in, strange_among, strange_line
from adaptinf.selection.composition import check_kept
from adaptinf.storage.tables import text_array
from adaptinf.words import counted


def problems(config: RunConfig, folder: Path | None) -> list[str]:
    """Return a line per reason why a run cannot keep what its file names, as far as the file and the stream tell."""
    path = config.selection.keep
    if path is None:
        return []
    run = None if folder is None else Run(folder=folder, config=config)
    if not Path(path).exists() and run is not None and kept_ids(run.folder / POOL):
        return []  # the run has its copy
    try:
        ids = read_ids(Path(path), ())
    except DataError as error:
        return [f"selection.keep: {error}"]
    numbers = {dataset.name: step for step, dataset in enumerate(config.stream)}
    strangers = [id for id in ids if id.partition("/")[0] not in numbers]
    found = []
    if strangers:
        number = counted(len(strangers), "id")
        found.append(
            f"selection.keep: {path} names {number} of no dataset of the stream: {named(strangers)}; an id is "
            f"DATASET/ID, such as {config.stream[0].name}/ID"
        )
    counts = Counter(numbers[id.partition("/")[0]] for id in ids if id.partition("/")[0] in numbers)
    to_come = {step: count for step, count in counts.items() if step >= (0 if run is None else run.num_finished)}
    found += [line for step, count in sorted(to_come.items()) if (line := _too_many(config, step, count))]
    return found + [line for line in (_beyond_cap(config, sum(counts.values())),) if line]


def _too_many(config: RunConfig, step: int, count: int) -> str | None:
    """Return why a step cannot train on all that is kept of its dataset; None if it can."""
    if method_traits(config).whole_pool:
        return None
    try:
        check_kept(count, config.selection.budget, config.selection.replay_share if step else None, step=step)
    except ConfigError as error:
        return str(error)
    return None


def _beyond_cap(config: RunConfig, count: int) -> str | None:
    cap = cap_of(config)
    if cap is None or count <= cap:
        return None
    return f"selection.keep names {counted(count, 'sample')}, but pruning.cap is {cap:,}; raise the cap, or keep fewer"


def record_kept(run: Run, step: int) -> None:
    """Copy what the file names into the run before a step measures anything; a finished step is left as it was.

    Raises:
        ConfigError: a kept id is unknown, rejected, excluded, withdrawn or pruned, one is no longer in the file, or
            there are more of them than the budget or the cap.
        DataError: the file cannot be read.
    """
    path = run.settings.selection.keep
    if path is None or step < run.num_finished:
        return
    before, ids = kept_ids(run.pool_folder), _ids(run, path)
    pool = run.pool(step)
    if told := "; ".join(_refused(run, step, pool, ids)):
        raise ConfigError(f"selection.keep: {path} names {told}; correct the file")
    _check_not_shrunk(run, step, path, before, ids)
    # A step that has begun goes on with what it began with; one that is taken again keeps what later ones kept.
    first = run.num_begun
    new = [id for id in ids if before.get(id, first + 1) > first]
    now = {id for id, since in before.items() if since <= step} | (set(new) if first == step else set())
    _check_numbers(run, step, pool, now)
    if not new:
        return
    note_kept(run.pool_folder, new, first)
    events.note_correction(run.events_file, first, KEPT, counted(len(new), "sample"))
    late = ", the step after this one, which had begun before" if first > step else ""
    run.progress.note(f"selection.keep: {counted(len(new), 'id')} kept from step {first} on{late}")


def _ids(run: Run, path: str) -> list[str]:
    """Return the ids of the file; of one that is gone, those of the run's copy."""
    copied = kept_ids(run.pool_folder)
    if not Path(path).exists() and copied:
        number = counted(len(copied), "id")
        run.progress.note(f"selection.keep: {path} is gone; the run goes on with its copy of {number}")
        return list(copied)
    return ids_in(run, Path(path))


def _refused(run: Run, step: int, pool: Pool, ids: Sequence[str]) -> Iterator[str]:
    """Yield how many ids cannot be kept, one phrase per reason."""
    joined = {dataset.name: dataset.index for dataset in stored_datasets(run.pool_folder)}
    to_come = {dataset.name for dataset in run.settings.stream} - joined.keys()
    excluded, withdrawn = excluded_ids(run.pool_folder, until=step), withdrawn_datasets(run.pool_folder, until=step)
    source = {id: id.partition("/")[0] for id in ids}
    there = [id for id in ids if source[id] not in to_come and source[id] not in withdrawn]
    strange = strange_among(run, there)
    if line := strange_line(run, strange):
        yield line
    if out := [id for id in ids if source[id] in withdrawn]:
        yield f"{counted(len(out), 'sample')} of withdrawn datasets: {named(out)}"
    if out := [id for id in there if id in excluded]:
        yield f"{counted(len(out), 'excluded sample')}: {named(out)}"
    others = {*strange.rejected, *strange.unknown, *excluded}
    arrived = text_array([id for id in there if id not in others and joined[source[id]] <= step])
    if out := arrived[pool.rows(arrived) < 0].tolist():
        yield f"{counted(len(out), 'pruned sample')}, which adaptinf restore brings back: {named(out)}"


def _check_not_shrunk(run: Run, step: int, path: str, before: dict[str, int], ids: Sequence[str]) -> None:
    """Refuse a file that has lost ids; those that left the pool may, as they are refused otherwise.

    Blanks at the end of an id count only where the pool knows it so, which it may not have done before.
    """
    excluded, withdrawn = excluded_ids(run.pool_folder, until=step), withdrawn_datasets(run.pool_folder, until=step)
    now = {*ids, *(id.strip() for id in ids)}
    lost = [id for id in before if id not in now and id not in excluded and id.partition("/")[0] not in withdrawn]
    if lost:
        raise ConfigError(
            f"selection.keep: {path} lacks {counted(len(lost), 'id')} that the run keeps: {named(lost)}; the file may "
            "grow only, put them back"
        )


def _check_numbers(run: Run, step: int, pool: Pool, kept: set[str]) -> None:
    """Refuse more kept samples than the step can train on, or than the pool can hold."""
    is_kept = np.fromiter((id in kept for id in pool.ids), bool, len(pool))
    is_new = pool.arrived == step
    share = run.settings.selection.replay_share if (~is_new).any() else None
    if not method_traits(run.settings).whole_pool:
        check_kept(int((is_kept & is_new).sum()), run.settings.selection.budget, share, step=step)
    if line := _beyond_cap(run.settings, int(is_kept.sum())):
        raise ConfigError(line)
