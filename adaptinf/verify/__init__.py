"""adaptinf verify: read everything in a run folder, and say of each damaged file what it loses and what to do.

Nothing is written unless `repair` or `adopt` asks for it, and no lock is needed: a run may go on beside it.
"""

from __future__ import annotations

import time
from pathlib import Path

from adaptinf.errors import AdaptError
from adaptinf.progress import Progress, Silent
from adaptinf.runs import Run
from adaptinf.verify.examination import examine
from adaptinf.verify.findings import Damage, Verified, run_command
from adaptinf.verify.repairing import adopt_unchecked, remove_damaged
from adaptinf.verify.settings import unusable_config
from adaptinf.verify.way_out import damages, recipes_of

__all__ = ["Damage", "Verified", "opened", "verify"]


def verify(
    run: Run,
    *,
    config_error: str | None = None,
    repair: bool = False,
    adopt: bool = False,
    progress: Progress | None = None,
) -> Verified:
    """Read everything in a run folder and return what is damaged, what that loses and what makes it again.

    Args:
        run: the run, as `opened` returns it. With `repair` or `adopt` the caller holds its lock (`Run.locked`).
        config_error: what is wrong with its config.yaml, if it cannot be used.
        repair: remove the damaged folders that can be made again from what is whole; the next run makes them.
        adopt: write checksums for folders that have none, or whose own are damaged, marked as adopted.
        progress: where to report.
    """
    started, progress = time.monotonic(), progress or Silent()
    run = _with_settings(run)
    found = examine(run, progress)
    if config_error is not None:
        found.others.append(unusable_config(run, config_error))
    if adopt:
        adopt_unchecked(run, found)
    removed, recipes = list[Path](), recipes_of(run, found)
    if repair:
        removed, recipes = remove_damaged(run, found, progress)
    reading = found.reading
    return Verified(
        folder=run.folder,
        damaged=tuple(damages(run, found, recipes)),
        unlisted=tuple(reading.unlisted),
        unchecked=tuple(reading.unchecked),
        adopted=reading.adopted,
        linked=reading.linked,
        made_again=found.made_again,
        removed=tuple(removed),
        run_command=run_command(run),
        num_folders=reading.num_folders,
        num_files=reading.num_files,
        num_bytes=reading.num_bytes,
        seconds=round(time.monotonic() - started, 3),
    )


def _with_settings(run: Run) -> Run:
    """Return the run; where the settings of its steps are damaged, with those of its config.yaml alone."""
    try:
        _ = run.settings
    except AdaptError:
        return run.as_configured()
    return run


def opened(folder: Path) -> tuple[Run, str | None]:
    """Return the run in a folder, and what is wrong with its config.yaml: the settings of its steps stand in for it.

    Raises:
        ConfigError: there is no run, or neither of its configurations can be read.
    """
    try:
        return Run.open(folder), None
    except AdaptError as error:
        run = Run.from_pinned(folder)
        if run is None:
            raise
        return run, str(error)
