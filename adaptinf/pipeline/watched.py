"""Stages that load the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from adaptinf.runs import Run
from adaptinf.runs.base import check_base
from adaptinf.storage.store import Artifact

A = TypeVar("A", bound=Artifact)


def with_model(run: Run, step: int, kind: type[A], compute: Callable[[Path], A]) -> A:
    """Run a stage that loads the model; it is not finished if files of the model change meanwhile."""

    def watched(part: Path) -> A:
        check_base(run)
        made = compute(part)
        check_base(run)
        return made

    return run.once(step, kind, watched)
