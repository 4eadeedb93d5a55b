"""The heartbeat: a small file in which the process that works on a run says every two seconds what it does.

It is no result: it has no checksum, nothing is made from it, and a run goes on where it cannot be written.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from adaptinf.words import shortened

PERIOD_SECONDS = 2.0
"""Time between two beats."""
LARGEST = 1 << 20
"""Bytes of a heartbeat that are read: a true one has some thousand."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""On Linux, an id of the running kernel: the same in all of its containers, whatever their host names are."""
SHOWN_CHARACTERS = 300
"""Characters of a text that a heartbeat holds."""


class _Said(BaseModel):
    """A part of a heartbeat; keys of later versions are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StageBeat(_Said):
    """One stage under way."""

    title: str
    """As its bar has it."""
    done: int = 0
    """Items that are done."""
    total: int | None = None
    """All items; None: not known."""
    unit: str = "samples"
    """What is counted."""
    seconds: float = 0.0
    """Since it began in this process."""
    rate: float | None = None
    """Items per second during the last minute; None: none is done yet."""
    beside: str = ""
    """How its workers are."""

    @property
    def seconds_left(self) -> float | None:
        """Time left at the rate of the last minute; None: not known."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, (self.total - self.done) / self.rate)


class Gpu(_Said):
    """Memory of one GPU."""

    name: str
    used_bytes: int
    total_bytes: int


class Heartbeat(_Said):
    """What a process that works on a run has said last."""

    process: int
    """Its process id."""
    host: str
    """Name of its machine."""
    kernel: str = ""
    """Id of the kernel that it runs on; empty: not known."""
    number: int
    """Beats so far: it grows as long as the process lives, whatever its clock says."""
    began: float
    """When it began to work on the run, seconds since 1970."""
    time: float
    """When it said this."""
    stages: tuple[StageBeat, ...] = ()
    """The stages under way, the innermost one last."""
    losses: tuple[tuple[int, float | None], ...] = ()
    """Optimiser step and loss of the training under way, or of the last one; None: the loss was not finite."""
    notes: tuple[str, ...] = ()
    """The last lines that it has shown, warnings among them."""
    memory_bytes: int | None = None
    """Memory of the process."""
    gpus: tuple[Gpu, ...] = ()
    """GPUs of its machine, with what all processes use of them."""
    ended: float | None = None
    """When it ended its work, with success or with an error; None: it works, or was killed."""
    error: str | None = None
    """The error that it ended with."""

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process runs, or ran, where this one does, so that the lock of the run tells if it lives."""
        if self.kernel and kernel():
            return self.kernel == kernel()
        return self.host == host()


@cache
def host() -> str:
    """Return the name of this machine."""
    return shortened(socket.gethostname(), SHOWN_CHARACTERS)


@cache
def kernel() -> str:
    """Return the id of the kernel that this process runs on; empty where it has none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def write(path: Path, beat: Heartbeat) -> None:
    """Write a heartbeat: a reader finds the old or the new one. It is not flushed to disk.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    draft = path.with_name(f"{path.name}.part")
    text = json.dumps(beat.model_dump(mode="json"), allow_nan=False).encode("ascii")
    try:
        # Not through a link that somebody has put there.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with open(descriptor, "wb") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read(path: Path) -> Heartbeat | None:
    """Return the heartbeat in a file; None where there is none, or something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return Heartbeat.model_validate_json(os.read(descriptor, LARGEST)) if is_file else None
    except (OSError, ValidationError):
        return None
    finally:
        os.close(descriptor)
