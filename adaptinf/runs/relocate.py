"""adaptinf relocate: the images of a pool have moved."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from adaptinf.errors import ConfigError, DataError
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.pool.relocation import Move, note_move, relocated
from adaptinf.pool.stored import StoredDataset, dataset_info, stored_datasets
from adaptinf.runs import Run
from adaptinf.words import counted

SHOWN_FOLDERS = 3
"""Folders of images that a message names."""
LOOKED_AT = 1000
"""First rows of a dataset in which an image is looked for."""


@dataclass(frozen=True, kw_only=True)
class Relocation:
    """What `relocate` did."""

    old: Path
    """Where the images were."""
    new: Path
    """Where they are."""
    num_images: int
    """Images of the pool that have moved, each file counted once."""
    text: str
    """What happened, in one sentence."""

    def __repr__(self) -> str:
        return f"Relocation({self.text!r})"


def relocate(run: Run, old: str, new: str) -> Relocation:
    """Record that the images below a folder lie below another one; the caller holds the run's lock (`Run.locked`).

    Every later reading of the pool finds them there. The folders of the datasets are not changed.

    Raises:
        ConfigError: no image of the pool lies below the former folder.
        DataError: an image is not there below the new one; the first is named, and nothing is recorded.
    """
    move = Move(os.path.abspath(old), os.path.abspath(new))
    known = [path for dataset in stored_datasets(run.pool_folder) for path in image_paths(dataset)]
    under = sorted({path for path in known if move.applied(path) != path})
    if not under:
        raise ConfigError(f"no image of the pool of {run.folder} lies under {move.old}; {_folders(known)}")
    missing = [path for path in map(move.applied, under) if not os.path.isfile(path)]
    if missing:
        raise DataError(
            f"{len(missing):,} of the {counted(len(under), 'image')} under {move.old} are not under {move.new}, the "
            f"first is {missing[0]}; nothing is recorded: move all of them, or name another folder"
        )
    note_move(run.pool_folder, move)
    text = f"{counted(len(under), 'image')} of the pool under {move.old} are read from {move.new} from now on"
    named = [place for place, path in _places(run) if move.applied(path) != path]
    if named:
        text += f"; {run.config_file} still names the former place: correct {', '.join(named)} there"
    return Relocation(old=Path(move.old), new=Path(move.new), num_images=len(under), text=text)


def image_paths(dataset: StoredDataset) -> Iterator[str]:
    """Yield where the images of a dataset are now, each once; those that it holds itself are left out."""
    for path in pc.unique(pc.list_flatten(dataset.table["images"])).to_pylist():
        if os.path.isabs(path):
            yield relocated(path, dataset.moves)


def _folders(paths: list[str]) -> str:
    """Return the folders of some images, for a message."""
    found = sorted({os.path.dirname(path) for path in paths})
    if not found:
        return "it holds no paths of images (none at all, or copies of its own): nothing needs to be moved"
    more = f" and {len(found) - SHOWN_FOLDERS:,} more" if len(found) > SHOWN_FOLDERS else ""
    return f"its images are in {', '.join(found[:SHOWN_FOLDERS])}{more}"


def _places(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the settings that name files of data, with their paths."""
    for number, dataset in enumerate(run.config.stream):
        yield from _named(f"stream.{number}", dataset.path, dataset.images)
    for number, skill in enumerate(run.config.evaluation):
        yield from _named(f"evaluation.{number}", skill.path, skill.images)


def _named(place: str, path: str, images: str | None) -> Iterator[tuple[str, str]]:
    yield f"{place}.path", path
    if images is not None:
        yield f"{place}.images", images


def missing_images(run: Run) -> list[str]:
    """Return a line per dataset of the pool whose first image is not where the pool has it."""
    withdrawn = withdrawn_datasets(run.pool_folder)
    found = []
    for dataset in stored_datasets(run.pool_folder):
        first = pc.list_flatten(dataset.table["images"].slice(0, LOOKED_AT)).slice(0, 1).to_pylist()
        path = dataset.image_path(first[0]) if first else None
        if path is not None and dataset.name not in withdrawn and not path.exists():
            found.append(
                f"images of {dataset.name} are not where the pool has them ({path}); put them back, or, if they have "
                f"moved, adaptinf relocate {shlex.join([str(run.folder), *_from_to(run, dataset, path)])}"
            )
    return found


def _from_to(run: Run, dataset: StoredDataset, path: Path) -> tuple[str, str]:
    """Return the former folder of a dataset's images and, where config.yaml names another one, the new one."""
    recorded = dataset_info(dataset.folder).get("image_folder")
    old = relocated(os.path.abspath(recorded), dataset.moves) if recorded else str(path.parent)
    entry = next((item for item in run.config.stream if item.name == dataset.name), None)
    new = entry.images if entry is not None and entry.images and os.path.abspath(entry.images) != old else "NEW"
    return old, new
