"""`--no-verify`: a command reads a run without comparing its files with their checksums, and the run records that."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from adaptinf.runs import Run
from adaptinf.storage import store, verified

logger = logging.getLogger(__name__)


@contextmanager
def reading(command: str, *runs: Run, verify: bool) -> Iterator[None]:
    """Read some runs in the block; without `verify` damage goes unnoticed, which the events of each run record."""
    for run in () if verify else runs:
        try:
            store.append_line(run.events_file, {"event": "no_verify", "command": command})
        except OSError as error:  # a folder that can only be read
            logger.warning("%s: --no-verify is not recorded (%s)", run.folder, error.strerror or error)
    with verified.checking(verify):
        yield
