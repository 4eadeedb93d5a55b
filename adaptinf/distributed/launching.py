"""Running work in ranks to its end, whatever end that is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from adaptinf.distributed.job import Job
from adaptinf.distributed.listening import Listener
from adaptinf.distributed.stopping import on_termination
from adaptinf.errors import AdaptError, ConfigError, StoreError
from adaptinf.executors.interface import Work
from adaptinf.executors.packing import UNSENDABLE
from adaptinf.executors.worker import pack
from adaptinf.progress import Progress
from adaptinf.words import one_line, shortened

SHOWN = 300
"""Characters of a rank's error that a message about another rank shows."""
ASKED_TO_END = f"was killed ({signal.SIGTERM.name})"
"""How a rank ends that was asked to, as torchrun asks all others once one has failed."""


class Launcher(Protocol):
    """How ranks are started."""

    @property
    def number(self) -> int:
        """How many there are."""
        ...

    def run(self, job: Job, on_wait: Callable[[], None]) -> Mapping[int, str]:
        """Run the ranks of a job to their end and call `on_wait` again and again meanwhile.

        Returns how ranks ended that failed, as the end of a sentence; empty if all ended well. None runs on after it.
        """
        ...


# Any: the work decides what its first rank returns.
def run_in_ranks(work: Work[Any], launcher: Launcher, folder: Path, progress: Progress) -> Any:
    """Have every rank open the work and call it, and return what the first one returned.

    SIGTERM is passed on as a request to save and to end. The folder stays if a rank fails, with what the ranks printed.

    Args:
        work: opens to a function of the job and a progress.
        launcher: starts the ranks.
        folder: of the job, made anew; all ranks see it.
        progress: shows what the first rank has to show.

    Raises:
        ConfigError: a part of the work is defined by this program alone.
        AdaptError: what a rank raised first.
        StoreError: a rank died; with its number and how it ended.
    """
    try:
        parcel = pack(work)
    except UNSENDABLE as error:
        raise ConfigError(
            f"training.devices: {launcher.number} trains in other processes, which cannot be sent a part of the work "
            f"({error}); move plug-ins that this program defines into a file and name it under plugins, or set 1"
        ) from error
    job = Job.begin(folder, parcel)
    with on_termination(job.ask_to_stop), Listener(job, progress) as listener:
        ended = launcher.run(job, listener.listen)
    if ended:
        raise failure(job, ended, launcher.number)
    result = job.result()
    job.end()
    return result


def failure(job: Job, ended: Mapping[int, str], number: int) -> Exception:
    """Return the error that ended the ranks: the first that says what happened.

    Where a rank dies, the others fail too, with a RuntimeError about a lost connection: such errors come last.
    """
    errors = job.errors()
    own = [error for _, error in errors if not _may_follow_from_another(error)]
    if own:
        return own[0]
    raised = {rank for rank, _ in errors}
    killed = [(rank, how) for rank, how in sorted(ended.items()) if rank not in raised and how != ASKED_TO_END]
    if not killed and errors:
        return errors[0][1]
    rank, how = killed[0] if killed else min(ended.items())
    beside = next((f" (rank {other}: {shortened(one_line(error), SHOWN)})" for other, error in errors), "")
    return StoreError(
        f"rank {rank} of {number} {how}, and the training with it{beside}; run the same command again to go on from "
        f"the newest checkpoint. What the ranks printed is in {job.log_folder}"
    )


def _may_follow_from_another(error: Exception) -> bool:
    """Tell whether the end of another rank may have caused an error, in the midst of an exchange with it."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    return isinstance(cause, RuntimeError) and not isinstance(cause, AdaptError)
