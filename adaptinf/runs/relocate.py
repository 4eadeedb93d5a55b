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
from adaptinf.pool.image_file import is_reference
from adaptinf.pool.relocation import Move, note_move, relocated
from adaptinf.pool.stored import StoredDataset, dataset_info, image_folders, stored_datasets
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
    named = list(dict.fromkeys(place for place, path in _places(run) if move.applied(path) != path))
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
        yield from _named(f"stream.{number}", dataset.path, dataset.image_folders)
    for number, skill in enumerate(run.config.evaluation):
        yield from _named(f"evaluation.{number}", skill.path, skill.image_folders)


def _named(place: str, path: str, folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield f"{place}.path", path
    yield from ((f"{place}.images", folder) for folder in folders)


def missing_images(run: Run) -> list[str]:
    """Return a line per image folder of the pool's datasets whose first image is not where the pool has it."""
    withdrawn = withdrawn_datasets(run.pool_folder)
    return [
        f"images of {dataset.name} are not where the pool has them ({path}); put them back, or, if they have moved, "
        f"adaptinf relocate {shlex.join([str(run.folder), folder, _new_place(run, dataset, folder)])}"
        for dataset in stored_datasets(run.pool_folder)
        if dataset.name not in withdrawn
        for folder, path in _first_images(dataset).items()
        if not path.exists()
    ]


def _first_images(dataset: StoredDataset) -> dict[str, Path]:
    """Return folder -> first image in it: the folders that were named for a dataset, else those of its images."""
    folders = _recorded(dataset)
    found: dict[str, Path] = {}
    for image in pc.unique(pc.list_flatten(dataset.table["images"].slice(0, LOOKED_AT))).to_pylist():
        if not is_reference(image):
            path = dataset.image_path(image)
            inside = (folder for folder in folders if path.is_relative_to(folder))
            # Images of unnamed folders lie together, below that of the file.
            found.setdefault(next(inside, "" if found else str(path.parent)), path)
    found.pop("", None)
    return found


def _recorded(dataset: StoredDataset) -> list[str]:
    """Return where the image folders that were named for a dataset are now."""
    named = image_folders(dataset_info(dataset.folder))
    return [relocated(os.path.abspath(folder), dataset.moves) for folder in named]


def _new_place(run: Run, dataset: StoredDataset, folder: str) -> str:
    """Return the folder that config.yaml names in place of one of a dataset; NEW where it names no other."""
    entry = next((item for item in run.config.stream if item.name == dataset.name), None)
    wanted = [] if entry is None else [os.path.abspath(name) for name in entry.image_folders]
    place = dict(zip(_recorded(dataset), wanted, strict=False)).get(folder, folder)
    return "NEW" if place == folder else place
