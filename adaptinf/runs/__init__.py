"""A run: one folder, one configuration, and which of its stages are finished."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import adaptinf
from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.arrays.seeded import derive_seed
from adaptinf.config import DatasetConfig, MadeBy, RunConfig, SkillConfig
from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError
from adaptinf.pool import Pool
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.progress import Prefixed, Progress, Silent
from adaptinf.runs.cache import Shelf
from adaptinf.runs.environment import git_sha
from adaptinf.selection import known_options, wishes
from adaptinf.storage import store

A = TypeVar("A", bound=store.Artifact)
S = TypeVar("S", DatasetConfig, SkillConfig)

CONFIG_NAME = "config.yaml"
STAGES = ("features", "clusters", "selection", "model", "evaluation", "pruning")
"""Folders of a step, in the order they are made; the last one is written by every step."""
GROWING_KEYS = ("stream", "evaluation")
"""Lists that may have grown at their end between two calls."""
OWN_NAMES = ("pool", "base", "steps", "metrics.jsonl", "events.jsonl", "report.html")
"""What a run writes beside its configuration, which comes first."""
FREE_KEYS = ("executor", "plugins", "made_by")
"""Settings that may change between two calls on one run folder, because no result depends on them."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder and what it is configured to do."""

    folder: Path
    """The run folder."""
    config: RunConfig
    """Its configuration, paths absolute."""
    progress: Progress = field(default_factory=Silent)
    """Where stages report."""
    shelf: Shelf | None = None
    """Where it finds, and leaves, work that other runs have in common with it; None: it is alone."""

    @classmethod
    def create(cls, folder: Path, config: RunConfig, *, progress: Progress | None = None) -> Run:
        """Return the run in `folder`, made or found.

        A run that exists goes on with the same settings; its stream and its evaluation may have grown at the end.

        Raises:
            ConfigError: the folder belongs to a run with other settings, the first one that differs is named; or it
                holds something else of a name that a run writes.
        """
        path = folder / CONFIG_NAME
        if not path.exists() and (strange := [name for name in OWN_NAMES if (folder / name).exists()]):
            raise ConfigError(
                f"{folder} is no run folder, as it has no {CONFIG_NAME}, and a run would write into its "
                f"{', '.join(strange)}; choose another --out"
            )
        if path.exists():
            way_out = "choose another --out, or delete that folder"
            _refuse_other_settings(folder, configuration.load(path), config, way_out)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder=folder, config=config, progress=progress or Silent())
        if not path.exists() or configuration.load(path).model_copy(update={"made_by": None}) != config:
            run.write_config()
        return run

    @classmethod
    def open(cls, folder: Path, *, progress: Progress | None = None) -> Run:
        """Return the run that lies in `folder`.

        Raises:
            ConfigError: there is none, or its config.yaml is wrong.
        """
        if not (folder / CONFIG_NAME).is_file():
            inside = sorted(path.parent for path in folder.glob(f"*/{CONFIG_NAME}"))
            way_out = (
                f"runs lie in it: {', '.join(map(str, inside))}"
                if inside
                else f"make one with `adaptinf init {folder} --model MODEL`"
            )
            raise ConfigError(f"{folder} is no run folder: it has no {CONFIG_NAME}; {way_out}")
        config = configuration.load(folder / CONFIG_NAME)
        return cls(folder=folder, config=config, progress=progress or Silent())

    @staticmethod
    def refuse_run(folder: Path) -> None:
        """Refuse a run folder as the place for several runs, whose report would take the place of its own.

        Raises:
            ConfigError: it is one.
        """
        if (folder / CONFIG_NAME).exists():
            raise ConfigError(f"{folder} is a run folder, and its report would be overwritten; choose another --out")

    def write_config(self) -> None:
        """Write config.yaml with version, git commit and time."""
        self._write_config(self.folder / CONFIG_NAME)

    def _write_config(self, path: Path) -> None:
        made_by = MadeBy(version=adaptinf.__version__, git_sha=git_sha(), utc_time=store.utc_now())
        stamped = self.config.model_copy(update={"made_by": made_by})
        store.write_text_whole(path, configuration.to_yaml(stamped))

    def hold_settings(self) -> None:
        """Write down the settings that steps are made with, and who makes them; config.yaml of a live run is edited.

        Where the model, datasets and tests lie may have changed: people move their files.

        Raises:
            ConfigError: steps were made with others; the first one that differs is named.
        """
        path = self.steps_folder / CONFIG_NAME
        if path.exists() and self.num_begun:
            way_out = f"put it back in {self.folder / CONFIG_NAME}: steps of one run are made with the same settings"
            before = configuration.load(path)
            _refuse_other_settings(self.folder, before, _as_placed(self.config, before), way_out)
        path.parent.mkdir(exist_ok=True)
        self._write_config(path)

    def made_by(self) -> MadeBy | None:
        """Return who took the newest step; of a run without steps, who set it up. None: nobody was written down."""
        for folder in (self.steps_folder, self.folder):
            path = folder / CONFIG_NAME
            if path.exists() and (found := configuration.load(path).made_by) is not None:
                return found
        return None

    def with_dataset(self, dataset: DatasetConfig) -> Run:
        """Return the run with one more dataset at the end of its stream; config.yaml is left as it is.

        Raises:
            ConfigError: the name is taken.
        """
        if dataset.name in [known.name for known in self.config.stream]:
            raise ConfigError(f"{self.folder} has a dataset called {dataset.name!r} already; give --name")
        config = self.config.model_copy(update={"stream": [*self.config.stream, dataset]})
        return replace(self, config=config)

    def titled(self, prefix: str) -> Run:
        """Return the run with words in front of the titles of its stages."""
        return replace(self, progress=Prefixed(self.progress, prefix))

    @property
    def pool_folder(self) -> Path:
        """Folder of the datasets."""
        return self.folder / "pool"

    @property
    def steps_folder(self) -> Path:
        """Folder of the steps."""
        return self.folder / "steps"

    def stage_folder(self, step: int, stage: str) -> Path:
        """Return the folder of a stage; step -1 is the base model's, which has an evaluation only."""
        return self.folder / "base" / stage if step < 0 else self.steps_folder / f"{step:02d}" / stage

    def dataset_folder(self, step: int) -> Path:
        """Return the pool's folder of the dataset that arrives at a step."""
        return self.pool_folder / f"{step:02d}-{self.config.stream[step].name}"

    def has(self, step: int, stage: str) -> bool:
        """Tell whether a stage is finished."""
        return self.stage_folder(step, stage).exists()

    @property
    def num_finished(self) -> int:
        """Number of steps that are finished, counted from the first."""
        step = 0
        while self.has(step, STAGES[-1]):
            step += 1
        return step

    @property
    def num_begun(self) -> int:
        """Number of steps that have taken their pool; what the user corrects now counts from the next one on."""
        return self.num_finished + (self.steps_folder / f"{self.num_finished:02d}").exists()

    @property
    def selection_options(self) -> dict[str, Any]:
        """The options of the run's method, as `select` takes them."""
        settings = self.config.selection
        scorers = {"scorers": settings.scorers} if "scorers" in known_options(settings.method) else {}
        return {**scorers, **settings.method_options}

    @property
    def settled(self) -> RunConfig:
        """The configuration with what is left to the method (`auto`) filled in."""
        return settled(self.config)

    def pool(self, step: int) -> Pool:
        """Return the pool as a step finds it: its dataset has joined, nothing of it is pruned yet."""
        return Pool.open(self.pool_folder, self.steps_folder, until=step)

    def evaluation(self, step: int) -> Evaluation | None:
        """Return the evaluation after a step (-1: of the base model); None where there is none."""
        folder = self.stage_folder(step, "evaluation")
        return Evaluation.load(folder) if folder.exists() else None

    def seed(self, stage: str, step: int) -> int:
        """Return the seed of one stage of one step."""
        return derive_seed(self.config.seed, stage, step)

    def once(self, step: int, stage: str, kind: type[A], compute: Callable[[Path], A]) -> A:
        """Return a stage's artifact, computing it if its folder does not exist, and log how long that took."""
        timed = partial(self._timed, step, stage, compute)
        folder = self.stage_folder(step, stage)
        with self.shared(step, stage, folder):
            return store.once(folder, kind, timed)

    def shared(self, step: int, stage: str, folder: Path) -> AbstractContextManager[None]:
        """Return a block that makes a stage's folder, unless a run that has the stage in common made it before."""
        # A run whose pool the user has corrected goes its own way.
        if self.shelf is None or withdrawn_datasets(self.pool_folder):
            return nullcontext()
        place = self.shelf.place(self.settled, step, stage)
        if place is None:
            return nullcontext()
        return self.shelf.shared(place, folder, log=self.folder / "events.jsonl", key={"step": step, "stage": stage})

    def _timed(self, step: int, stage: str, compute: Callable[[Path], A], part: Path) -> A:
        with self.logged(step, stage, part):
            return compute(part)

    @contextmanager
    def logged(self, step: int, stage: str, part: Path) -> Iterator[None]:
        """Append the beginning and the end of a stage, with seconds and peak memory, to events.jsonl.

        Seconds are those of all attempts: of one that was killed, up to the last file that it left in `part`.
        """
        log, key = self.folder / "events.jsonl", {"step": step, "stage": stage}
        earlier = _seconds_of_killed(store.read_lines(log), key, part)
        store.append_line(log, {**key, "event": "begin", "earlier_seconds": earlier})
        started = time.monotonic()
        yield
        cost = {"seconds": round(earlier + time.monotonic() - started, 3), "peak_bytes": _peak_bytes()}
        store.append_line(log, {**key, "event": "end", **cost})

    def log_metrics(self, step: int, stage: str, values: dict[str, Any]) -> None:
        """Append numbers of a stage to metrics.jsonl; for one (step, stage) the last line wins."""
        store.append_line(self.folder / "metrics.jsonl", {"step": step, "stage": stage, **values})

    def seconds(self) -> dict[tuple[int, str], float]:
        """Return how long each finished (step, stage) took."""
        events = store.read_lines(self.folder / "events.jsonl")
        return {(event["step"], event["stage"]): event["seconds"] for event in events if event["event"] == "end"}

    def plugins(self) -> AbstractContextManager[registry.Scope]:
        """Return a block in which this run's plug-ins are known, and those of no other run."""
        return registry.scope(self.config.plugins)


def _refuse_other_settings(folder: Path, old: RunConfig, new: RunConfig, way_out: str) -> None:
    for key in RunConfig.model_fields:
        before, after = getattr(old, key), getattr(new, key)
        if key in FREE_KEYS or before == after:
            continue
        if has_grown(key, before, after):
            continue
        place, was, now = _first_difference(key, before, after)
        raise ConfigError(f"{folder} was made with {place}={was!r}, now it is {now!r}; {way_out}")


def _as_placed(config: RunConfig, before: RunConfig) -> RunConfig:
    """Return the configuration with its files where they were before."""

    def placed(now: list[S], then: list[S]) -> list[S]:
        places = [{"path": old.path, "images": old.images} for old in then]
        return [new.model_copy(update=place) for new, place in zip(now, places, strict=False)] + now[len(then) :]

    changes = {
        "model": config.model.model_copy(update={"path": before.model.path}),
        "stream": placed(config.stream, before.stream),
        "evaluation": placed(config.evaluation, before.evaluation),
    }
    return config.model_copy(update=changes)


def has_grown(key: str, before: Any, after: Any) -> bool:
    """Tell whether a setting is a list that begins as it was, of those that may grow (Any: of any setting)."""
    both = isinstance(before, list) and isinstance(after, list)
    return key in GROWING_KEYS and both and after[: len(before)] == before


def _first_difference(key: str, before: Any, after: Any) -> tuple[str, Any, Any]:
    """Return the first setting below `key` that differs: its place, what it was, what it is."""
    if isinstance(before, configuration.Section):
        for name in type(before).model_fields:
            if getattr(before, name) != getattr(after, name):
                return _first_difference(f"{key}.{name}", getattr(before, name), getattr(after, name))
    if isinstance(before, list) and isinstance(after, list):
        for number, (was, now) in enumerate(zip(before, after, strict=False)):
            if was != now:
                return _first_difference(f"{key}.{number}", was, now)
        return key, f"{len(before)} entries", f"{len(after)} entries"
    return key, before, after


def settled(config: RunConfig) -> RunConfig:
    """Return the configuration with what is left to the method (`auto`) filled in."""
    for place, value in wishes(config.selection.method).items():
        name, key = place.split(".")
        section = getattr(config, name)
        if getattr(section, key) == "auto":
            config = config.model_copy(update={name: section.model_copy(update={key: value})})
    return config


def _seconds_of_killed(events: list[dict[str, Any]], key: dict[str, Any], part: Path) -> float:
    """Return how long attempts at a stage worked that began and never ended."""
    own = [event for event in events if all(event.get(name) == value for name, value in key.items())]
    if not own or own[-1]["event"] != "begin":
        return 0.0
    began = datetime.fromisoformat(own[-1]["time"]).timestamp()
    newest = max((path.stat().st_mtime for path in part.rglob("*") if path.is_file()), default=began)
    return round(float(own[-1].get("earlier_seconds", 0.0)) + max(0.0, newest - began), 3)


def _peak_bytes() -> int:
    """Return the most memory this process has held so far (Linux counts in kilobytes, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
