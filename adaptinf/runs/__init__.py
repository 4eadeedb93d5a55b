"""A run: one folder, one configuration, and which of its stages are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import adaptinf
from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.arrays.seeded import derive_seed
from adaptinf.config import DatasetConfig, MadeBy, RunConfig
from adaptinf.data import Evaluation, Features
from adaptinf.errors import AdaptError, ConfigError, StoreError
from adaptinf.pool import Pool
from adaptinf.pool.corrections import excluded_ids, withdrawn_datasets
from adaptinf.progress import Prefixed, Progress, Silent
from adaptinf.runs import events
from adaptinf.runs.cache import StageCache
from adaptinf.runs.environment import git_sha
from adaptinf.runs.layout import BASE_STEP, CONFIG, OWN_NAMES, STAGES, Layout
from adaptinf.runs.own_config import check_own_config
from adaptinf.runs.settings import as_placed, check_same, free_changes, method_options, resolve, unpinned_options
from adaptinf.storage import lock, sealed_text, store, verified
from adaptinf.words import counted

__all__ = ["BASE_STEP", "STAGES", "Run"]

A = TypeVar("A", bound=store.Artifact)
SHOWN_RUNS = 4
"""Runs inside of a folder that a message names."""


@dataclass(frozen=True, kw_only=True)
class Run(Layout):
    """One run folder and what it is configured to do."""

    folder: Path
    """The run folder."""
    config: RunConfig
    """Its configuration as the user wrote it, paths absolute. What a stage does follows from `settings`."""
    progress: Progress = field(default_factory=Silent)
    """Where stages report."""
    cache: StageCache | None = None
    """Where it finds, and leaves, stages that other runs have in common with it; None: it is alone."""
    makes_maps: bool = True
    """Whether its steps end with a map where the explorer is installed; else `adaptinf view` makes it."""

    @classmethod
    def create(cls, folder: Path, config: RunConfig, *, progress: Progress | None = None) -> Run:
        """Return the run in `folder`, made or found.

        A run that exists continues with the same settings; its stream and its evaluation may have grown at the end.

        Raises:
            ConfigError: the folder belongs to a run with other settings, the first one that differs is named; or it
                holds something else of a name that a run writes.
        """
        run = cls.found(folder, config, progress=progress)
        run.record_config()
        return run

    @classmethod
    def found(cls, folder: Path, config: RunConfig, *, progress: Progress | None = None) -> Run:
        """Return the run in `folder` as `create` does; nothing is written, so that its inputs can be checked first.

        Paths may differ from those of an existing run, as users move their files.

        Raises:
            ConfigError: as `create`.
        """
        path = folder / CONFIG
        if not path.exists() and (strange := [name for name in OWN_NAMES if (folder / name).exists()]):
            raise ConfigError(
                f"{folder} is not a run folder, as it has no {CONFIG}, and a run would write into its "
                f"{', '.join(strange)}; choose another --out"
            )
        if path.exists():
            begun = cls.open(folder)
            before, is_tested = begun.config, begun.is_tested
            way_out = "choose another --out, or delete that folder"
            check_same(folder, before, as_placed(config, before), way_out, is_tested=is_tested)
        return cls(folder=folder, config=config, progress=progress or Silent())

    @property
    def has_other_config(self) -> bool:
        """Whether config.yaml says something else, such as a former place of files, or is not written yet."""
        path = self.config_file
        return not path.exists() or _load(path).model_copy(update={"made_by": None}) != self.config

    def record_config(self) -> None:
        """Write config.yaml unless it says the same; the folder is made if it does not exist."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.has_other_config:
            self.write_config()

    @classmethod
    def open(cls, folder: Path, *, progress: Progress | None = None) -> Run:
        """Return the run in `folder`.

        Raises:
            ConfigError: there is none, or its config.yaml is wrong.
        """
        if folder.is_file():
            raise ConfigError(
                f"{folder} is a file, not a run folder; `adaptinf run {folder}` makes one of a stream.yaml, by default "
                f"runs/{folder.stem}"
            )
        if not (folder / CONFIG).is_file():
            # A comparison has its runs one level deeper.
            found = sorted(folder.glob(f"*/{CONFIG}")) or sorted(folder.glob(f"*/*/{CONFIG}"))
            inside = [str(path.parent) for path in found]
            more = f" and {len(inside) - SHOWN_RUNS:,} more" if len(inside) > SHOWN_RUNS else ""
            way_out = (
                f"runs inside it: {', '.join(inside[:SHOWN_RUNS])}{more}"
                if inside
                else f"make one with `adaptinf init {folder} --model MODEL`"
            )
            raise ConfigError(f"{folder} is not a run folder: it has no {CONFIG}; {way_out}")
        run = cls(folder=folder, config=_load(folder / CONFIG), progress=progress or Silent())
        try:
            pinned = run._pinned
        except AdaptError:
            pinned = None  # damaged, which is said where the settings of the steps are needed
        check_own_config(run, run.config, pinned)
        return run

    @classmethod
    def from_pinned(cls, folder: Path) -> Run | None:
        """Return the run in a folder by the settings of its steps alone; None where they cannot be read either."""
        run = cls(folder=folder, config=RunConfig())
        try:
            return replace(run, config=_load(run.pinned_config_file))
        except (ConfigError, OSError):
            return None

    @classmethod
    @contextmanager
    def locked(cls, folder: Path, *, progress: Progress | None = None) -> Iterator[Run]:
        """Open the run in `folder` and hold its lock for the block; no other process changes the run meanwhile.

        Raises:
            ConfigError: there is no run.
            StoreError: another process holds the lock; the message has its number.
        """
        # Before the lock, which would make a folder where there is none; and again inside, as it may have changed.
        cls.open(folder)
        with lock.held(folder):
            yield cls.open(folder, progress=progress)

    @staticmethod
    def refuse_run(folder: Path) -> None:
        """Refuse a run folder as the place for several runs, whose report would overwrite its own.

        Raises:
            ConfigError: it is one.
        """
        if (folder / CONFIG).exists():
            raise ConfigError(f"{folder} is a run folder, and its report would be overwritten; choose another --out")

    def __repr__(self) -> str:
        steps = f"{self.num_finished} of {counted(len(self.config.stream), 'step')} finished"
        return f"Run({str(self.folder)!r}: {self.config.selection.method}, {steps})"

    @cached_property
    def settings(self) -> RunConfig:
        """The settings that the run works with: every `auto` answered, once and for all of its steps."""
        return resolve(self.config, self._pinned)

    @property
    def _pinned(self) -> RunConfig | None:
        """The settings that the run's steps use; None for a run without steps. StoreError: they are damaged."""
        path = self.pinned_config_file
        if not path.exists() or not self.num_begun:
            return None
        verified.check_ordinary(path)
        if sealed_text.is_whole(path.read_bytes()) is False:
            raise StoreError(
                f"{path} is damaged: its checksum differs; bring back a copy, or delete its first line if you edited it"
            )
        return _load(path)

    @property
    def cap(self) -> int | None:
        """Samples that the pool holds after a step; None: no cap."""
        cap = self.settings.pruning.cap
        return cap if isinstance(cap, int) else None

    @property
    def selection_options(self) -> dict[str, Any]:
        """All options of the run's method, as `select` takes them."""
        return method_options(self.settings)

    def as_configured(self) -> Run:
        """Return the run by its config.yaml alone, for one whose pinned settings are damaged."""
        return self._changed(settings=resolve(self.config))

    def write_config(self) -> None:
        """Write config.yaml with version, git commit and time."""
        _write(self.config_file, self.config)

    @property
    def is_tested(self) -> bool:
        """Whether any model of the run has been tested."""
        return any(self.has(step, Evaluation) for step in range(BASE_STEP, self.num_begun))

    def pin_settings(self) -> Run:
        """Write the settings that this run's steps use, so that a later edit of config.yaml is refused.

        A changed setting on which results depend by rounding at most is noted in events.jsonl instead. Paths of the
        model, datasets and tests may have changed, as users move their files. Returns the run with all settings
        answered, those of the device included.

        Raises:
            ConfigError: steps were made with other settings; the first one that differs is named.
        """
        run, pinned = self, self._pinned
        if run.settings.model.dtype == "auto":
            run = run._changed(settings=self._with_dtype(run.settings, self._dtype()))
        if pinned is None:
            for name in unpinned_options(run.settings):
                run.progress.note(
                    f"the default of selection.options.{name} cannot be written to {self.pinned_config_file}: "
                    "if its file changes it, later steps of this run use the new one; set the option to keep it"
                )
        else:
            way_out = f"put it back in {self.config_file}: steps of one run are made with the same settings"
            before = resolve(pinned, pinned)
            if before.model.dtype == "auto":
                before = self._with_dtype(before, run.settings.model.dtype)
            check_same(self.folder, before, as_placed(run.settings, before), way_out, is_tested=self.is_tested)
            for place, (was, wanted) in free_changes(before, run.settings).items():
                run.progress.note(f"{place} is {wanted!r} from step {self.num_finished} on, before {was!r}")
                events.note_change(self.events_file, self.num_finished, place, was, wanted)
        self.pinned_config_file.parent.mkdir(exist_ok=True)
        _write(self.pinned_config_file, run.settings, resolved=True)
        return run

    def _dtype(self) -> str:
        """Return the type of the weights that earlier steps measured with, of a run without any that of its device."""
        features = self.newest(Features)
        if features is not None and "model_dtype" in features.info:
            return str(features.info["model_dtype"])
        from adaptinf.models.placement import dtype_name

        return dtype_name(self.settings.model)

    @staticmethod
    def _with_dtype(settings: RunConfig, dtype: str) -> RunConfig:
        return configuration.with_settings(settings, {"model.dtype": dtype}, where="model.dtype")

    def _changed(self, *, settings: RunConfig | None = None, **changes: Any) -> Run:
        """Return the run with some fields replaced and the settings kept, or replaced as well."""
        run = replace(self, **changes)
        run.__dict__["settings"] = settings or self.settings  # where a cached property keeps its value
        return run

    def made_by(self) -> MadeBy | None:
        """Return what took the newest step; of a run without steps, what set it up. None: nothing was recorded."""
        for path in (self.pinned_config_file, self.config_file):
            if path.exists() and (found := _load(path).made_by) is not None:
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
        return self._changed(progress=Prefixed(self.progress, prefix))

    def dataset_folder(self, step: int) -> Path:
        """Return the pool's folder of the dataset that arrives at a step."""
        return self.pool_folder / f"{step:02d}-{self.config.stream[step].name}"

    def pool(self, step: int) -> Pool:
        """Return the pool as a step finds it: its dataset has joined, nothing of it is pruned yet."""
        return Pool.open(self.pool_folder, self.steps_folder, until=step)

    def seed(self, stage: str, step: int) -> int:
        """Return the seed of one stage of one step."""
        return derive_seed(self.config.seed, stage, step)

    def load(self, step: int, kind: type[A]) -> A | None:
        """Return the artifact of a finished stage; None where the stage is not finished.

        Raises:
            StoreError: a file of it is damaged.
        """
        return kind.load(self.stage_folder(step, kind)) if self.has(step, kind) else None

    def newest(self, kind: type[A], *, before: int | None = None) -> A | None:
        """Return the newest artifact of a kind, the base model's included, `before` a step; None if there is none."""
        last = len(self.config.stream) if before is None else before
        found = (self.load(step, kind) for step in range(last - 1, BASE_STEP - 1, -1))
        return next((artifact for artifact in found if artifact is not None), None)

    def once(self, step: int, kind: type[A], compute: Callable[[Path], A]) -> A:
        """Return a stage's artifact, computing it if its folder does not exist, and log how long that took."""
        folder = self.stage_folder(step, kind)
        with self.shared(step, kind.stage, folder):
            return store.once(folder, kind, partial(self._logged, step, kind.stage, compute))

    def _logged(self, step: int, stage: str, compute: Callable[[Path], A], part: Path) -> A:
        with self.logged(step, stage, part):
            return compute(part)

    def shared(self, step: int, stage: str, folder: Path) -> AbstractContextManager[None]:
        """Return a block that makes a stage's folder, unless a run that has the stage in common made it before."""
        # A run whose pool the user has corrected has stages of its own.
        if self.cache is None or withdrawn_datasets(self.pool_folder) or excluded_ids(self.pool_folder):
            return nullcontext()
        place = self.cache.place(self.settings, step, stage)
        if place is None:
            return nullcontext()
        return self.cache.shared(place, folder, log=self.events_file, key={"step": step, "stage": stage})

    def logged(self, step: int, stage: str, part: Path) -> AbstractContextManager[None]:
        """Return a block whose begin and end, with seconds and peak memory, are appended to events.jsonl."""
        return events.logged(self.events_file, step, stage, part)

    def log_metrics(self, step: int, stage: str, values: dict[str, Any]) -> None:
        """Append numbers of a stage to metrics.jsonl; for one (step, stage) the last line wins."""
        store.append_line(self.metrics_file, {"step": step, "stage": stage, **values})

    def finished_stages(self) -> list[Mapping[str, Any]]:
        """Return what each finished (step, stage) cost: step, stage, seconds, peak_bytes."""
        return events.finished_stages(self.events_file)

    def seconds(self) -> dict[tuple[int, str], float]:
        """Return how long each finished (step, stage) took."""
        return events.stage_seconds(self.events_file)

    def plugins(self) -> AbstractContextManager[registry.Scope]:
        """Return a block in which this run's plug-ins are known, and those of no other run."""
        return registry.scope(self.config.plugins)


def _load(path: Path) -> RunConfig:
    """Return the configuration in a file of a run, read again only when the file has changed."""
    state = path.stat()
    return _loaded(path.absolute(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=4)  # config.yaml and steps/config.yaml of a run and of another
def _loaded(path: Path, *_: int) -> RunConfig:
    return configuration.load(path)


def _write(path: Path, config: RunConfig, *, resolved: bool = False) -> None:
    made_by = MadeBy(version=adaptinf.__version__, git_sha=git_sha(), utc_time=store.utc_now(), resolved=resolved)
    text = configuration.to_yaml(config.model_copy(update={"made_by": made_by}))
    # Users edit config.yaml, but nobody the settings that are pinned.
    store.write_text_whole(path, sealed_text.sealed(text) if resolved else text)
