"""Shows in the driver what the first rank has to show."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from adaptinf.distributed.job import Job
from adaptinf.progress import Bar, Progress


@dataclass(eq=False)
class Listener:
    """Reads what the first rank says; a block closes the stage that is shown last."""

    job: Job
    """The job."""
    progress: Progress
    """What shows it."""
    _read: int = 0
    _stage: ExitStack = field(default_factory=ExitStack)
    _bar: Bar | None = None

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self.listen()
        self._stage.close()

    def listen(self) -> None:
        """Show what was said since the last call."""
        with open(self.job.said_file, "rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._show(json.loads(line))

    def _show(self, said: dict[str, Any]) -> None:
        if "note" in said:
            self.progress.note(said["note"])
        elif "stage" in said:
            self._stage.close()
            self._bar = self._stage.enter_context(self.progress.stage(said["stage"], said["total"], said["unit"]))
        elif self._bar is not None and "advance" in said:
            self._bar.advance(said["advance"])
        elif self._bar is not None and "beside" in said:
            self._bar.beside(said["beside"])
        elif self._bar is not None and "loss" in said:
            self._bar.loss(said["at"], said["loss"])
        elif self._bar is not None:
            self._bar.took(said["took"])
            self._stage.close()
            self._bar = None
