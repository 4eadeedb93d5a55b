"""The selected samples as a data file for an outside trainer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.formats import write
from adaptinf.formats.writing import fitted, keeps_loss_flags, text_suffix, write_companions
from adaptinf.images.opening import LARGEST_LIMIT, examine
from adaptinf.models.files import adapter_files
from adaptinf.pool.prepared import IMAGES, PreparedSamples
from adaptinf.progress import Progress
from adaptinf.training.unreadable import UnreadableInARow
from adaptinf.words import counted

DATA = "data"
"""Folder of the data file, with nothing else in it than the trainer needs."""
ADAPTER = "adapter"
"""Folder of the copy of the adapter that the trainer goes on with."""


@dataclass(frozen=True, kw_only=True)
class TrainerData:
    """What a trainer is given."""

    file: Path
    """The data file."""
    num_samples: int
    """Its rows."""

    @property
    def folder(self) -> Path:
        """The folder that relative paths of images would start from; all are absolute."""
        return self.file.parent


def write_trainer_data(samples: Sequence[Sample], part: Path, format: str, progress: Progress) -> TrainerData:
    """Write samples as a data file into a folder of its own below `part`, and return where it is.

    Images that are files are named by their absolute paths; those that the pool holds are copied beside the folder.

    Args:
        samples: readable ones.
        part: the unfinished folder of the training.
        format: name of a format that is written.
        progress: where to report.

    Raises:
        DataError: a text holds a literal image tag.
    """
    folder = part / DATA
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    plugin = fitted(format, samples)
    has_tools = any(sample.tools for sample in samples)
    num_lost = sum(bool(sample.unlearnt) and not keeps_loss_flags(sample, plugin) for sample in samples)
    if num_lost:
        progress.note(
            f"warning: {counted(num_lost, 'sample')} with turns that are not to be learnt: rows of the format {format} "
            "cannot say so, and the trainer learns these turns too"
        )
    file = folder / f"data{text_suffix(format)}"
    with progress.stage(f"write {format}", len(samples)) as bar:
        prepared = PreparedSamples(samples, part, None, has_tools=has_tools)
        count = write(prepared, file, plugin, on_row=bar.advance)
    write_companions(folder, file.name, plugin, with_tools=has_tools)
    return TrainerData(file=file, num_samples=count)


def adapter_to_train(adapter: Path | None, part: Path) -> str:
    """Return a copy of an adapter that a trainer may train in place, or an empty text where there is none.

    The adapter itself is that of an earlier step, or the user's.
    """
    if adapter is None:
        return ""
    folder = part / ADAPTER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in adapter_files(adapter):
        shutil.copyfile(adapter / name, folder / name)
    return str(folder)


def clear(part: Path) -> None:
    """Remove what was written for a trainer."""
    for name in (DATA, IMAGES, ADAPTER):
        shutil.rmtree(part / name, ignore_errors=True)


def unreadable_images(samples: Sequence[Sample], progress: Progress) -> dict[str, str]:
    """Return the samples with an image that cannot be decoded now, and why; a trainer might replace them in silence.

    Raises:
        DataError: those of many consecutive ones cannot be.
    """
    found: dict[str, str] = {}
    in_a_row = UnreadableInARow()
    with progress.stage("open the images", len(samples)) as bar:
        for sample in samples:
            reasons = (examine(image, max_pixels=LARGEST_LIMIT).problem for image in sample.images)
            problem = next((reason for reason in reasons if reason), None)
            if problem is not None:
                found[sample.id] = problem
            if sample.images:
                in_a_row.note(sample.id, None if problem is None else DataError(problem))
            bar.advance()
    return found
