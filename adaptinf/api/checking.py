"""The command that checks what a run has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adaptinf.api.paths import PathLike
from adaptinf.progress import Progress

if TYPE_CHECKING:
    from adaptinf.verify.findings import Verified


def verify(
    folder: PathLike, *, repair: bool = False, adopt: bool = False, progress: Progress | None = None
) -> Verified:
    """Read everything in a run folder: what is damaged, what that loses, and what makes it again.

    Without `repair` and `adopt` nothing is written, and a run may go on beside it.

    Args:
        folder: the run folder.
        repair: remove the damaged folders that can be made again from what is whole; `run` or `step` makes them.
        adopt: write checksums for folders that have none, taking their files as they are.
        progress: where to report.

    Raises:
        ConfigError: there is no such run, or neither of its configurations can be read.
        StoreError: with `repair` or `adopt`, another process uses the run.
    """
    from adaptinf import verify as verification
    from adaptinf.runs import Run

    if repair or adopt:
        with Run.locked(Path(folder)) as run:
            return verification.verify(run, repair=repair, adopt=adopt, progress=progress)
    run, config_error = verification.opened(Path(folder))
    return verification.verify(run, config_error=config_error, progress=progress)
