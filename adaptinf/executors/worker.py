"""The other end of an executor: opening, in another process, the work that was sent there.

Beside the work goes the fingerprint of the plug-ins: the worker loads the user's files, so that a scorer of the user's
own is known there too, and refuses the work where it has other plug-ins.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adaptinf import registry
from adaptinf.executors.interface import Work
from adaptinf.storage import verified


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    working_directory: str
    """Where relative paths of the work count from."""
    plugins: registry.Fingerprint
    work: bytes
    """Pickled by itself: it may refer to plug-ins, which have to be loaded before."""
    checks_files: bool
    """Whether files are compared with their checksums (`verified.checking`)."""


def pack(work: Work[Any]) -> bytes:
    """Return work, and which plug-ins it needs, as bytes that any process can be sent."""
    return pickle.dumps(
        _Parcel(
            working_directory=os.getcwd(),
            plugins=registry.fingerprint(),
            work=pickle.dumps(work),
            checks_files=verified.is_checking(),
        )
    )


@contextmanager
def opened(parcel: bytes) -> Iterator[Any]:
    """Open packed work in this process and yield its tool (Any: what it is, the work decides).

    The process goes over into the working directory of the one that packed the work.

    Raises:
        ConfigError: this process has other plug-ins than the one that packed the work, or a plug-in file has changed.
    """
    unpacked: _Parcel = pickle.loads(parcel)
    os.chdir(unpacked.working_directory)
    with registry.scope_like(unpacked.plugins), verified.checking(unpacked.checks_files):
        work: Work[Any] = pickle.loads(unpacked.work)
        with work.open() as tool:
            yield tool
