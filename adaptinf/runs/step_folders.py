"""What the folders of a run's steps hold, listed once: commands ask about each stage of thousands of steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adaptinf.runs.layout import BASE_STEP, STAGES, Layout
from adaptinf.storage import store

NOTHING: frozenset[str] = frozenset()
_PART_OF = {stage: store.part_of(Path(stage)).name for stage in STAGES}


@dataclass(frozen=True, kw_only=True)
class StepFolders:
    """The names in the folder of each step, at one moment."""

    names: Mapping[int, frozenset[str]]
    """Step, BASE_STEP included -> names of the stages in its folder, those that are being made with `.part`. A step
    without a folder is left out."""
    num_finished: int
    """Number of steps that are finished, as `Layout.num_finished`."""

    @classmethod
    def of(cls, run: Layout) -> StepFolders:
        """Return what the steps of a run hold now: each folder is listed once."""
        steps = [BASE_STEP, *(int(name) for name in _names(run.steps_folder) if name.isdigit())]
        folders = {step: _listed(run.step_folder(step)) for step in steps}
        names = {step: found for step, found in folders.items() if found is not None}
        return cls(names=names, num_finished=run.num_finished)

    def has(self, step: int, *stages: type[store.Artifact]) -> bool:
        """Tell whether these stages of a step are finished."""
        found = self.names.get(step, NOTHING)
        return all(stage.stage in found for stage in stages)

    def is_making(self, step: int, stage: type[store.Artifact]) -> bool:
        """Tell whether a stage of a step has begun and is not finished."""
        return _PART_OF[stage.stage] in self.names.get(step, NOTHING)

    @property
    def num_begun(self) -> int:
        """Number of steps that have taken their pool, as `Layout.num_begun`."""
        return self.num_finished + (self.num_finished in self.names)

    def newest(self, num_steps: int) -> int:
        """Return the newest of the steps before `num_steps` that has a folder, -1 if none has."""
        return max((step for step in self.names if 0 <= step < num_steps), default=-1)


def _names(folder: Path) -> frozenset[str]:
    """Return what stands in a folder, without links to nothing; nothing where there is no folder."""
    return _listed(folder) or NOTHING


def _listed(folder: Path) -> frozenset[str] | None:
    """Return the same; None where nothing is in the folder's place."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return NOTHING
