"""The explorer as a static folder, which any web server shows without Python."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptinf.arrays.seeded import number_keys
from adaptinf.arrays.threads import in_threads
from adaptinf.runs import Run
from adaptinf.storage import drafts, store, tables
from adaptinf.view.explorer import Explorer
from adaptinf.view.page import page_files
from adaptinf.view.rows import TEXT_CHARACTERS
from adaptinf.view.server import DATA
from adaptinf.words import counted, format_bytes

MAX_THUMBNAILS = 20_000
"""Thumbnails of a folder, drawn by seed: about 160 MB."""
BLOCK = 64
"""Thumbnails that are made at a time."""


@dataclass(frozen=True, kw_only=True)
class WrittenExplorer:
    """A folder that shows a step's pool."""

    folder: Path
    """The folder."""
    step: int
    """The step, from 0."""
    num_samples: int
    """Samples that it shows."""
    num_images: int
    """Images that it has thumbnails of."""
    num_bytes: int
    """Size of the folder."""
    notes: tuple[str, ...]
    """What it lacks, a line each."""

    @property
    def line(self) -> str:
        """What was written, as a sentence."""
        what = f"{counted(self.num_samples, 'sample')} and {counted(self.num_images, 'thumbnail')} of step {self.step}"
        return (
            f"wrote {self.folder}: {what}, {format_bytes(self.num_bytes)}; "
            f"python -m http.server --directory {self.folder} shows it, as any web server does"
        )


def write_explorer(run: Run, step: int | None, out: Path) -> WrittenExplorer:
    """Write the explorer of a step's pool into the new folder `out`, which appears when it is complete.

    Raises:
        ConfigError: the step is not finished, or `out` exists.
        StoreError: a file of the run is damaged.
    """
    drafts.refuse_existing(out)
    explorer = Explorer.open(run, step)
    with drafts.new_folder(out) as part:
        for path in page_files():
            shutil.copyfile(path, part / path.name)
        data = part / DATA.removesuffix("/")
        _write_fixed(explorer, data)
        num_images, notes = _write_thumbnails(explorer, data / "thumbs")
        if num_cut := explorer.rows.num_cut():
            notes.append(
                f"{counted(num_cut, 'text')} of more than {TEXT_CHARACTERS:,} characters cut; search does not see "
                "what is missing"
            )
        description = explorer.description(is_static=True, notes=tuple(notes))
        (data / "view.json").write_text(tables.as_json_text(description), encoding="utf-8")
        num_bytes = store.folder_bytes(part)
    return WrittenExplorer(
        folder=out,
        step=explorer.step,
        num_samples=len(explorer.rows),
        num_images=num_images,
        num_bytes=num_bytes,
        notes=tuple(notes),
    )


def _write_fixed(explorer: Explorer, folder: Path) -> None:
    with explorer.run.progress.stage("write tables", None, unit="files") as bar:
        for path, content in explorer.fixed():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            bar.advance()


def _write_thumbnails(explorer: Explorer, folder: Path) -> tuple[int, list[str]]:
    """Write up to MAX_THUMBNAILS thumbnails; return how many there are, and what is missing."""
    total = len(explorer.images)
    order = np.argsort(number_keys(total, explorer.run.config.seed, "thumbnails"))[:MAX_THUMBNAILS]
    numbers, num_written = np.sort(order).tolist(), 0
    folder.mkdir(parents=True)

    def write(number: int) -> bool:
        made = explorer.thumbnails.small(number)
        if made is not None:
            (folder / f"{number}.jpg").write_bytes(made)
        return made is not None

    with explorer.run.progress.stage("thumbnails", len(numbers), unit="images") as bar:
        for start in range(0, len(numbers), BLOCK):
            done = list(in_threads(write, numbers[start : start + BLOCK]))
            num_written += sum(done)
            bar.advance(len(done))
    notes = list[str]()
    if total > len(numbers):
        notes.append(f"thumbnails of {len(numbers):,} of {total:,} images, drawn at random")
    if num_written < len(numbers):
        notes.append(f"{counted(len(numbers) - num_written, 'image')} cannot be read any more")
    return num_written, notes
