"""Where things lie in a run folder: the only place that spells these names."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from adaptinf.data import ARTIFACTS, SavedPruning
from adaptinf.storage import store

CONFIG = "config.yaml"
POOL = "pool"
BASE = "base"
STEPS = "steps"
EXPORTS = "exports"
EVENTS = "events.jsonl"
METRICS = "metrics.jsonl"
REPORT = "report.html"
HEARTBEAT = ".heartbeat.json"
TRIAL = "trial.json"
BASE_MODEL = "base.json"
ACCEPTED = "accepted.jsonl"
REJECTED_MODEL = "model-rejected"
VIEW = "view"
OWN_NAMES = (POOL, BASE, STEPS, METRICS, EVENTS, REPORT)
"""What a run writes beside its configuration, which is written first."""
BASE_STEP = -1
"""Number of the step that holds the base model's evaluation."""
STAGES = tuple(kind.stage for kind in ARTIFACTS)
"""Folders of a step, in the order they are made; the last one is written by every step."""


# Commands ask for each of thousands of steps and its stages a dozen times.
@lru_cache(maxsize=2**14)
def _step_folder(folder: Path, step: int) -> Path:
    return folder / BASE if step == BASE_STEP else folder / STEPS / f"{step:02d}"


@lru_cache(maxsize=2**16)
def _stage_folder(folder: Path, step: int, stage: str) -> Path:
    return _step_folder(folder, step) / stage


@lru_cache(maxsize=16)
def _pool_folder(folder: Path) -> Path:
    return folder / POOL


class Layout:
    """The paths of one run folder."""

    folder: Path
    """The run folder."""

    @property
    def pool_folder(self) -> Path:
        """Folder of the datasets."""
        return _pool_folder(self.folder)

    @property
    def steps_folder(self) -> Path:
        """Folder of the steps."""
        return self.folder / STEPS

    @property
    def config_file(self) -> Path:
        """The run's configuration as its user edits it."""
        return self.folder / CONFIG

    @property
    def pinned_config_file(self) -> Path:
        """The settings that the run's steps use."""
        return self.steps_folder / CONFIG

    @property
    def events_file(self) -> Path:
        """Begin and end of every stage."""
        return self.folder / EVENTS

    @property
    def metrics_file(self) -> Path:
        """Numbers of every stage."""
        return self.folder / METRICS

    @property
    def base_file(self) -> Path:
        """The files of the base model that the run's steps work with."""
        return self.steps_folder / BASE_MODEL

    @property
    def accepted_file(self) -> Path:
        """Changes of base model and tests that the user has accepted."""
        return self.folder / ACCEPTED

    @property
    def trial_file(self) -> Path:
        """What the trial of the model found before the first step."""
        return self.folder / TRIAL

    @property
    def heartbeat_file(self) -> Path:
        """What the process that works on the run knows; no result, and written anew all the time."""
        return self.folder / HEARTBEAT

    @property
    def report_file(self) -> Path:
        """The page about this run."""
        return self.folder / REPORT

    def export_folder(self, step: int, format: str) -> Path:
        """Return where an export of a step is written unless its user names a folder."""
        return self.folder / EXPORTS / f"{step:02d}-{format}"

    def step_folder(self, step: int) -> Path:
        """Return the folder of a step; BASE_STEP is the base model's."""
        return _step_folder(self.folder, step)

    def stage_folder(self, step: int, stage: type[store.Artifact]) -> Path:
        """Return the folder of a stage's artifact."""
        return _stage_folder(self.folder, step, stage.stage)

    def rejected_model_folder(self, step: int) -> Path:
        """Return the folder of the weights that a step has trained and that the gate has taken back."""
        return self.step_folder(step) / REJECTED_MODEL

    def has(self, step: int, *stages: type[store.Artifact]) -> bool:
        """Tell whether these stages of a step are finished."""
        return all(self.stage_folder(step, stage).exists() for stage in stages)

    @property
    def num_finished(self) -> int:
        """Number of steps that are finished: the newest with a pruning, and all before it, whatever they have lost."""
        names = list[str]()
        with suppress(FileNotFoundError, NotADirectoryError):
            names = [name for name in os.listdir(self.steps_folder) if name.isdigit()]
        finished = (
            int(name)
            for name in sorted(names, key=int, reverse=True)
            if (self.steps_folder / name / SavedPruning.stage).exists()
        )
        return 1 + next(finished, -1)

    @property
    def num_begun(self) -> int:
        """Number of steps that have taken their pool; a correction of the pool counts from the next one on."""
        return self.num_finished + self.step_folder(self.num_finished).exists()
