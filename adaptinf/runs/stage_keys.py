"""Everything that the result of a shared stage depends on: settings, and the files that they name."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from adaptinf import registry
from adaptinf.config import RunConfig, SkillConfig, SourceConfig
from adaptinf.data import Clusters, Evaluation, Features
from adaptinf.errors import DataError
from adaptinf.evaluation.harness.tests import PLACEHOLDERS
from adaptinf.outside import Command
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.runs.layout import BASE_STEP
from adaptinf.scoring.columns import columns_in
from adaptinf.sources import find_source, fingerprints
from adaptinf.sources.fingerprint import Fingerprint, folder_fingerprints
from adaptinf.sources.manifest import exported_roots
from adaptinf.storage import tables


def ingredients(config: RunConfig, step: int, stage: str) -> Any:
    """Return everything that a stage's result depends on (Any: JSON values); None for a stage that is not shared.

    The pool's datasets depend on the data, row 0 of the matrix also on model and tests, the first step's vectors and
    clusters also on extraction settings and seed. All stages from the first selection on belong to one run.
    """
    files = _Files()
    if stage == POOL_STAGE:
        return [config.data.model_dump(), _rows(files, config.stream[step], config.seed), _plugins(config)]
    if (step, stage) == (BASE_STEP, Evaluation.stage):
        # All of the stream, as a skill may be introduced by any dataset's name.
        stream = [_rows(files, dataset, config.seed) for dataset in config.stream]
        tests = [_rows(files, test, 0) if test.command is None else _command(files, config, test) for test in
                 config.evaluation]  # fmt: skip
        made_of = [stream, _plugins(config), _model(files, config), tests]
        return [config.data.model_dump(), *made_of, config.evaluation_engine]
    if step == 0 and stage in (Features.stage, Clusters.stage):
        proxy = files.of_model(config.extraction.model) if config.extraction.model else None
        measured: list[Any] = [config.data.model_dump(), _rows(files, config.stream[0], config.seed), _plugins(config)]
        measured += [_model(files, config), proxy, _extraction(config)]
        measured += [list(columns_in([config.selection.scorers, *config.selection.method_options.values()]))]
        measured += [files.below(config.selection.targets)] if config.selection.targets else []
        clustering = config.clustering.model_dump() if stage == Clusters.stage else None
        return [*measured, config.training.tune, config.training.adapter, config.seed, clustering]
    return None


@dataclass
class _Files:
    """Hashes of the names, sizes and times of files: cheap to read, and they change with content.

    Each folder is looked through once, as many datasets may share one of a million images.
    """

    known: dict[tuple[str, bool], str] = field(default_factory=dict)

    def below(self, path: str, *, only_images: bool = False) -> str:
        """Return the hash of a file, or of all files below a folder, or of the images among them."""
        if (path, only_images) not in self.known:
            found = folder_fingerprints(Path(path))
            self.known[path, only_images] = _hash(item for item in found if not only_images or _is_image(item[0]))
        return self.known[path, only_images]

    def of_model(self, path: str) -> str:
        """Return the hash of a model's folder, or the place of a hub model's version that is on this machine."""
        if Path(path).exists():
            return self.below(path)
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            return str(try_to_load_from_cache(path, "config.json"))
        except HFValidationError:
            return path


def _rows(files: _Files, item: SourceConfig, seed: int) -> list[Any]:
    """Return what the rows of a dataset depend on: its settings, all of its files, and those of its images."""
    own_seed = None if item.max_rows is None else seed
    try:
        source = find_source(item.path, subset=item.subset, split=item.split)
        shards: Any = fingerprints(source)
    except DataError as error:
        # The files may have gone once their rows are in the pool; nothing else is shared under this key.
        return [_own_settings(item), own_seed, str(error)]
    images = [files.below(folder) for folder in item.image_folders]
    if not images and source.folder is not None:
        # Beside the data file anything may lie: only images count there.
        roots = [str(source.folder), *map(str, exported_roots(source.folder))]
        images = [files.below(root, only_images=True) for root in roots]
    return [_own_settings(item), own_seed, source.description, shards, images]


# Any: values of settings.
def _own_settings(item: SourceConfig) -> dict[str, Any]:
    """Return the settings on which the rows of a dataset depend: its weight says how often they are chosen."""
    return item.model_dump(exclude={"weight"})


def _command(files: _Files, config: RunConfig, test: SkillConfig) -> list[Any]:
    """Return what the result of a harness depends on: its command, and the files and folders that this names.

    A folder that the command runs in is left out, as it may hold the runs themselves.
    """
    start = Path(config.commands_folder or ".").absolute()
    words = Command.parse(test.command or "", place="", known=PLACEHOLDERS).words
    places = {start / part for word in words for part in (word, *word.split("="), *word.split(","))}
    named = [place for place in sorted(places) if os.path.exists(place) and not start.is_relative_to(place.resolve())]
    return [test.model_dump(exclude={"timeout"}), str(start), [files.below(str(place)) for place in named]]


def _model(files: _Files, config: RunConfig) -> list[Any]:
    adapter = files.below(config.model.adapter) if config.model.adapter else None
    return [config.model.model_dump(), files.of_model(config.model.path), adapter]


def _extraction(config: RunConfig) -> dict[str, Any]:
    """Return the settings of the extraction; `refresh` decides about no sample of the first step.

    With plug-ins it does, as features that are to be carried over say what code measured them.
    """
    is_free = not config.plugins and not registry.fingerprint().packages
    return config.extraction.model_dump(exclude={"refresh"} if is_free else set())


def _plugins(config: RunConfig) -> list[str]:
    return [_content(path) for path in config.plugins]


def _content(path: str) -> str:
    return xxhash.xxh3_64_hexdigest(Path(path).read_bytes()) if Path(path).is_file() else path


def _hash(found: Iterable[Fingerprint]) -> str:
    return xxhash.xxh3_64_hexdigest(tables.as_json_text(list(found)).encode())


def _is_image(name: str) -> bool:
    return (mimetypes.guess_type(name)[0] or "").startswith("image/")
