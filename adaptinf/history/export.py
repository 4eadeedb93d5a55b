"""adaptinf export: the samples that a step selected, as a folder for any other trainer.

data.json | data.jsonl    the samples, in the order of ids.txt; data.parquet with --images embed
ids.txt                   one id per line; an id with a line break or another control character as a JSON string
scores.parquet            why they were selected: id, cluster, scorer, score, bin, rank, and every measured score
dataset_info.json         what LLaMA-Factory needs to load the folder, with the format sharegpt
images/                   images, each content once: those that the pool holds, with --images copy all
manifest.json             origin: run, step, seeds, versions; SHA-256 of every other file; checksum of itself
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import adaptinf
from adaptinf.data import Features, Sample, Selection
from adaptinf.errors import ConfigError
from adaptinf.formats import Format, write
from adaptinf.formats.writing import (
    PARQUET,
    fitted,
    format_to_write,
    keeps_loss_flags,
    text_suffix,
    write_companions,
)
from adaptinf.history.exported_rows import chosen_rows
from adaptinf.pool import stored_datasets
from adaptinf.pool.id_lists import as_line
from adaptinf.pool.prepared import PreparedSamples
from adaptinf.pool.relocation import relocated
from adaptinf.pool.stored import dataset_info, image_folders
from adaptinf.progress import Progress, Silent
from adaptinf.runs import Run
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.settings import method_options
from adaptinf.sources.manifest import IDS, MANIFEST, ROOTS_KEY
from adaptinf.storage import drafts, sealed_text, store, tables, verified
from adaptinf.storage.tables import Columns
from adaptinf.words import check_name, counted

Images = Literal["embed", "copy", "reference"]
IMAGES = get_args(Images)
"""What an export does with images: their bytes in the rows, copies in its own folder, or their paths as they are."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A folder with the samples that a step selected."""

    folder: Path
    """The folder."""
    manifest: dict[str, Any]
    """What manifest.json holds: run, step, method, options, seeds, counts, and the SHA-256 of every other file."""

    @property
    def num_samples(self) -> int:
        """Samples in the folder."""
        return int(self.manifest["samples"])

    @property
    def num_withdrawn(self) -> int:
        """Selected samples that were left out because their dataset was withdrawn since."""
        return int(self.manifest["left_out"]["withdrawn"])

    @property
    def num_excluded(self) -> int:
        """Selected samples that were left out because they were excluded since."""
        return int(self.manifest["left_out"].get("excluded", 0))

    @property
    def loss_flags(self) -> dict[str, int]:
        """Samples with turns without loss: `written`, and `lost`, where the format cannot say so."""
        return dict(self.manifest["loss_flags"])

    def __repr__(self) -> str:
        samples = counted(self.num_samples, "sample")
        return f"Exported({str(self.folder)!r}: {samples} of step {self.manifest['step']} as {self.manifest['format']})"


def export_selection(
    run: Run,
    step: int,
    format: str,
    out: Path,
    *,
    images: Images | None = None,
    ids: Path | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write the samples that step `step` selected into the new folder `out`, or those of a file of ids.

    Samples that were excluded since, or whose dataset was withdrawn, are left out and counted. The folder appears when
    it is complete.

    Args:
        run: the run.
        step: number of the step.
        format: name of the format.
        out: the folder.
        images: as in IMAGES; None: `reference` for images that are files, `copy` for those that the pool holds.
        ids: file with one id of the step's pool per line; None: what the step selected.
        progress: where to report.

    Raises:
        ConfigError: the step has not selected yet, the format is unknown, or `out` exists.
        DataError: an id is not in the pool, an image cannot be copied, or a text holds a literal image tag.
    """
    if images is not None:
        check_name("images", images, IMAGES)
    with run.plugins():
        return _export(run, step, format, out, images=images, ids=ids, progress=progress or Silent())


def _export(
    run: Run, step: int, format: str, out: Path, *, images: Images | None, ids: Path | None, progress: Progress
) -> Exported:
    check_datasets(run)
    selection = _checked(run, step, format, out)
    chosen = chosen_rows(run, step, selection.table, ids)
    samples = run.pool(step).view(chosen.table["id"])
    with drafts.new_folder(out) as part:
        counts = _Counts()
        written = _write_samples(samples, part, format, images, counts, progress)
        (part / IDS).write_text("".join(f"{as_line(id)}\n" for id in chosen.table["id"]), encoding="utf-8")
        tables.write_table(part / Features.SCORES, _with_scores(run, step, chosen.table))
        manifest = {**_origin(run, step), "format": format, "images": written, "samples": len(samples)}
        manifest |= {ROOTS_KEY: _roots(run, counts) if images in (None, "reference") else []}
        manifest |= {"sources": counts.sources, "loss_flags": counts.loss_flags, "left_out": chosen.left_out}
        manifest |= {"files": _hashes(part)}
        (part / MANIFEST).write_text(sealed_text.sealed_json(manifest), encoding="utf-8")
    return Exported(folder=out, manifest=manifest)


def _write_samples(
    samples: Sequence[Sample], part: Path, format: str, images: Images | None, counts: _Counts, progress: Progress
) -> str:
    """Write the samples and their images; return what was done with these, as the manifest says it."""
    plugin = fitted(format, samples)
    for sample in samples:
        counts.add(sample, plugin)
    suffix = PARQUET if images == "embed" else text_suffix(format)
    with progress.stage(f"export {format}", len(samples)) as bar:
        prepared = PreparedSamples(samples, part, images, has_tools=counts.has_tools)
        write(prepared, part / f"data{suffix}", plugin, embed=images == "embed", on_row=bar.advance)
    write_companions(part, f"data{suffix}", plugin, with_tools=counts.has_tools)
    return images or prepared.images_written


def _checked(run: Run, step: int, format: str, out: Path) -> Selection:
    """Return what the step selected, if it can be exported."""
    _ = format_to_write(format)
    selection = run.load(step, Selection)
    if selection is None:
        done = [number for number in range(run.num_begun) if run.has(number, Selection)]
        known = f"finished selections: steps {done[0]} to {done[-1]}" if done else "no step has selected yet"
        raise ConfigError(f"{run.folder} has no selection of step {step}; {known}")
    drafts.refuse_existing(out)
    return selection


@dataclass
class _Counts:
    """What is counted before samples are written."""

    sources: Counter[str] = field(default_factory=Counter)
    """Samples of each dataset."""
    loss_flags: dict[str, int] = field(default_factory=lambda: {"written": 0, "lost": 0})
    """As in `Exported`."""
    folders: dict[str, set[Path]] = field(default_factory=dict)
    """Folders of the image files of each dataset."""
    has_tools: bool = False
    """Whether a sample has tools."""

    def add(self, sample: Sample, plugin: Format) -> None:
        self.sources[sample.source] += 1
        self.has_tools = self.has_tools or bool(sample.tools)
        folders = {image.parent for image in sample.images if isinstance(image, Path)}
        self.folders.setdefault(sample.source, set()).update(folders)
        if sample.unlearnt:
            self.loss_flags["written" if keeps_loss_flags(sample, plugin) else "lost"] += 1


def _roots(run: Run, counts: _Counts) -> list[str]:
    """Return the folders that the images lie in: those named for the datasets, else the images' own folders."""
    roots: set[Path] = set()
    for dataset in stored_datasets(run.pool_folder):
        folders = counts.folders.get(dataset.name, set())
        info = dataset_info(dataset.folder)
        named = image_folders(info) or (_beside(Path(info.get("path") or dataset.folder)),)
        copies = [dataset.folder] if info.get("pictures") == "copy" else []
        own = copies or [Path(relocated(str(Path(folder).resolve()), dataset.moves)) for folder in named]
        roots |= {_root_of(folder, own) for folder in folders}
    return sorted(map(str, roots))


def _beside(path: Path) -> Path:
    """Return the folder that image paths are relative to where none is named."""
    return path if path.is_dir() else path.parent


def _root_of(folder: Path, roots: Sequence[Path]) -> Path:
    return next((root for root in roots if folder.is_relative_to(root)), folder)


def _with_scores(run: Run, step: int, table: Columns) -> Columns:
    """Return the table of the selection, with a column for every measured score."""
    features = run.load(step, Features)
    if features is None:
        return table
    rows = np.minimum(np.searchsorted(features.ids, table["id"]), len(features.ids) - 1)
    is_measured = features.ids[rows] == table["id"]
    scores = {name: np.where(is_measured, column[rows], np.nan) for name, column in features.scores.items()}
    return {**table, **scores}


def _origin(run: Run, step: int) -> dict[str, Any]:
    settings = run.config.selection
    features = run.load(step, Features)
    return {
        "made_by": f"adaptinf {adaptinf.__version__}",
        "utc_time": store.utc_now(),
        "run": str(run.folder.resolve()),
        "run_made_by": made_by.model_dump() if (made_by := run.made_by()) else None,
        "step": step,
        "dataset": run.config.stream[step].name,
        "method": settings.method,
        "options": method_options(run.config),
        "budget": settings.budget,
        **_composition(run, step),
        "seeds": {"run": run.config.seed, "selection": run.seed("selection", step)},
        "model": run.config.model.path,
        "verified": verified.is_checking(),
        "measured_by": None if features is None else features.info.get("fingerprint"),
    }


# Any: JSON values.
def _composition(run: Run, step: int) -> dict[str, Any]:
    """Return the parts of the pool that shared the budget; empty where the method chose from the whole pool."""
    parts, _ = Selection.load_composition(run.stage_folder(step, Selection))
    share = run.config.selection.replay_share
    return {"replay_share": share, "parts": [asdict(part) for part in parts]} if parts else {}


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
