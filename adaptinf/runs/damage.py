"""What a run folder has lost: a step refuses to go on from an incomplete one, and says how to make it whole."""

from __future__ import annotations

from pathlib import Path

from adaptinf.data import Evaluation, SavedPruning, Trained
from adaptinf.errors import StoreError
from adaptinf.pool.corrections import CORRECTIONS
from adaptinf.pool.intake import comparable_content_of
from adaptinf.runs import Run, events
from adaptinf.runs.expected import missing, newest_folder
from adaptinf.runs.layout import BASE_STEP
from adaptinf.runs.stream import recorded_content
from adaptinf.storage import checksums, verified
from adaptinf.words import counted


def check_history(run: Run, step: int) -> None:
    """Check that what a step needs of earlier ones is there: their datasets, what they pruned, the last evaluation.

    Raises:
        StoreError: something is missing; the message names it and the way out.
    """
    _check_settings(run)
    _check_corrections(run)
    num_earlier = max(step, newest_folder(run))
    _check_arrived(run, num_earlier)
    for earlier in range(num_earlier):
        if not run.has(earlier, SavedPruning):
            raise _missing(run, earlier, run.stage_folder(earlier, SavedPruning))
    if _had_evaluation(run, step - 1) and not run.has(step - 1, Evaluation):
        raise _missing(run, step - 1, run.stage_folder(step - 1, Evaluation))


def check_datasets(run: Run) -> None:
    """Check that every dataset of a step that has begun is in the pool: without one, numbers would be of another pool.

    Raises:
        StoreError: one is missing, or was swapped for another of the same name; the message names its folder. Or the
            corrections of the pool are gone.
    """
    _check_corrections(run)
    _check_arrived(run, newest_folder(run) + 1)


def _check_arrived(run: Run, num_steps: int) -> None:
    for step in range(num_steps):
        dataset = run.dataset_folder(step)
        if not dataset.exists():
            raise StoreError(
                f"{dataset} is missing, and with it the samples that arrived at step {step}; bring back a copy, or "
                f"adaptinf run {run.config_file} reads it again, if its file still gives the same rows"
            )
        recorded = recorded_content(run, step)
        found = comparable_content_of(dataset, recorded)
        if None not in (recorded, found) and recorded != found:
            raise StoreError(
                f"{dataset} holds other rows (content {found}) than those that step {step} worked with ({recorded}); "
                "bring back the former folder"
            )


def check_complete(run: Run) -> None:
    """Check that nothing is gone that a run had, for commands that show what it did.

    Raises:
        StoreError: something is missing; the message names it and the way out.
    """
    _check_settings(run)
    check_datasets(run)
    for place in missing(run):
        folder = run.dataset_folder(place.step) if place.stage is None else run.stage_folder(place.step, place.stage)
        raise StoreError(f"{folder} is missing; {checksums.WAY_OUT}")


def _check_corrections(run: Run) -> None:
    """Check that files with corrections of the pool are there.

    Raises:
        StoreError: one has gone or is empty, though the log says that the pool was corrected.
    """
    for name, count in events.corrected(run.events_file).items():
        path = run.pool_folder / name
        if name in CORRECTIONS and not (path.is_file() and path.stat().st_size):
            raise StoreError(
                f"{path} is missing or empty, but the pool was corrected {counted(count, 'time')}; bring back a copy, "
                "or, to undo all of these corrections, write a line break into it"
            )


def _check_settings(run: Run) -> None:
    if newest_folder(run) >= 0 and not run.pinned_config_file.exists():
        raise StoreError(
            f"{run.pinned_config_file} is missing, which holds the settings of the steps; bring back a copy, or copy "
            f"{run.config_file} there if it has not been edited since"
        )


def weights_folder(run: Run, step: int) -> Path:
    """Return the folder of the weights that a step trained.

    Raises:
        StoreError: the folder or a file of it is missing or damaged, or a file was added.
    """
    folder = run.stage_folder(step, Trained)
    if not folder.exists():
        raise _missing(run, step, folder)
    lacking = Trained.lacking(folder)
    if lacking:
        raise StoreError(f"{folder} lacks {', '.join(lacking)}: {_way_out(run, step)}")
    # Here, as the libraries that load them, and other processes, take the files as they are.
    verified.check_folder(folder)
    return folder


def _missing(run: Run, step: int, folder: Path) -> StoreError:
    return StoreError(f"{folder} is missing: {_way_out(run, step)}")


def _way_out(run: Run, step: int) -> str:
    before = "the base model" if step == 0 else f"step {step - 1}"
    return (
        f"bring back a copy, or delete {run.step_folder(step)} and all later steps; then repeat the command, or run "
        f"adaptinf step {run.folder}, which makes these steps again from {before}"
    )


def _had_evaluation(run: Run, step: int) -> bool:
    """Tell whether a step's skills have been tested: an old run may have got its tests later."""
    if step <= BASE_STEP:
        return False
    return (step, Evaluation.stage) in run.seconds()
