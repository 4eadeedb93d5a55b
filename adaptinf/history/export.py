"""adaptinf export: the samples that a step selected, as a folder for any other trainer.

data.json | data.jsonl    the samples, in the order of ids.txt
ids.txt                   one id per line; an id with a line break or another control character as a JSON string
scores.parquet            why they were selected: id, cluster, scorer, score, bin, rank, and every measured score
dataset_info.json         what LLaMA-Factory needs to load the folder, with the format sharegpt
images/                   the images, each content once, with --images copy
manifest.json             origin: run, step, seeds, versions; SHA-256 of every other file; checksum of itself
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import adaptinf
from adaptinf.data import Features, Sample, Selection
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats import Format, write
from adaptinf.formats.columns import TOOLS_KEY
from adaptinf.formats.writing import format_to_write, keeps_loss_flags
from adaptinf.images.contents import ImageContent
from adaptinf.pool import stored_datasets
from adaptinf.pool.corrections import withdrawn_datasets
from adaptinf.pool.intake import ImageStore
from adaptinf.pool.relocation import relocated
from adaptinf.pool.stored import dataset_info, image_folders
from adaptinf.progress import Progress, Silent
from adaptinf.runs import Run
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.settings import method_options
from adaptinf.sources.manifest import IDS, MANIFEST, ROOTS_KEY
from adaptinf.storage import drafts, sealed_text, store, tables, verified
from adaptinf.storage.tables import Columns
from adaptinf.words import check_name, counted, has_controls

Images = Literal["reference", "copy"]
IMAGES = get_args(Images)
"""What an export does with images: their paths as they are, or copies in its own folder."""
LIST_FORMATS = ("llava",)
"""Formats whose trainers read one JSON list; all others are written as one row per line."""
KEPT_META = ("skill", "task")
"""Fields of `meta` that are exported: text only, because Arrow refuses columns of mixed types."""


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
    images: Images = "reference",
    progress: Progress | None = None,
) -> Exported:
    """Write the samples that step `step` selected into the new folder `out`.

    Samples of datasets that have been withdrawn since are left out and counted. The folder appears when it is complete.

    Raises:
        ConfigError: the step has not selected yet, the format is unknown, or `out` exists.
        DataError: an image cannot be copied, or a text holds a literal image tag.
    """
    check_name("images", images, IMAGES)
    with run.plugins():
        return _export(run, step, format, out, images=images, progress=progress or Silent())


def _export(run: Run, step: int, format: str, out: Path, *, images: str, progress: Progress) -> Exported:
    check_datasets(run)
    selection = _checked(run, step, format, out)
    withdrawn = withdrawn_datasets(run.pool_folder)
    is_kept = np.array([id.partition("/")[0] not in withdrawn for id in selection.table["id"]], dtype=bool)
    table = {name: column[is_kept] for name, column in selection.table.items()}
    samples = run.pool(step).view(table["id"])
    with drafts.new_folder(out) as part:
        counts = _write_samples(samples, part, format, images, progress)
        (part / IDS).write_text("".join(f"{_one_line(id)}\n" for id in table["id"]), encoding="utf-8")
        tables.write_table(part / Features.SCORES, _with_scores(run, step, table))
        left_out = {"withdrawn": int((~is_kept).sum())}
        manifest = {**_origin(run, step), "format": format, "images": images, "samples": len(samples)}
        manifest |= {ROOTS_KEY: [] if images == "copy" else _roots(run, counts)}
        manifest |= {"sources": counts.sources, "loss_flags": counts.loss_flags, "left_out": left_out}
        manifest |= {"files": _hashes(part)}
        (part / MANIFEST).write_text(sealed_text.sealed_json(manifest), encoding="utf-8")
    return Exported(folder=out, manifest=manifest)


def _write_samples(samples: Sequence[Sample], part: Path, format: str, images: str, progress: Progress) -> _Counts:
    image_store = ImageStore(part / "images" if images == "copy" else None)
    data = part / ("data.json" if format in LIST_FORMATS else "data.jsonl")
    plugin, counts = _plugin(format, samples), _Counts()
    with progress.stage(f"export {format}", len(samples)) as bar:
        write(_prepared(samples, part, image_store, counts, plugin, bar.advance), data, plugin)
    _write_companions(part, data, plugin, samples)
    return counts


def _one_line(id: str) -> str:
    """Return an id as a line of ids.txt: as JSON where it would not be one line; no other line begins with a quote."""
    return json.dumps(id) if has_controls(id) else id


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


def _plugin(format: str, samples: Sequence[Sample]) -> Format:
    """Return the format; one whose rows depend on what all samples need is told so (`fitting`)."""
    kind = format_to_write(format)
    fitting: Callable[[Iterable[Sample]], Format] | None = getattr(kind, "fitting", None)
    return kind() if fitting is None else fitting(samples)


def _write_companions(part: Path, data: Path, plugin: Format, samples: Iterable[Sample]) -> None:
    """Write the files that other trainers need beside the data file, if the format has any."""
    companions: Callable[..., dict[str, Any]] | None = getattr(plugin, "companions", None)
    if companions is None:
        return
    for name, value in companions(data.name, with_tools=any(sample.tools for sample in samples)).items():
        (part / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@dataclass
class _Counts:
    """What is counted while samples are written."""

    sources: Counter[str] = field(default_factory=Counter)
    """Samples of each dataset."""
    loss_flags: dict[str, int] = field(default_factory=lambda: {"written": 0, "lost": 0})
    """As in `Exported`."""
    folders: dict[str, set[Path]] = field(default_factory=dict)
    """Folders of the images of each dataset."""


def _prepared(
    samples: Sequence[Sample], part: Path, image_store: ImageStore, counts: _Counts, plugin: Format, advance: Any
) -> Iterator[Sample]:
    """Yield the samples as they are written: full ids, KEPT_META, and images at their exported paths."""
    # Arrow needs rows of one kind: all have the column if one has.
    no_tools = {TOOLS_KEY: None} if any(sample.tools for sample in samples) else {}
    for sample in samples:
        counts.sources[sample.source] += 1
        counts.folders.setdefault(sample.source, set()).update(
            image.parent for image in sample.images if isinstance(image, Path)
        )
        if sample.unlearnt:
            counts.loss_flags["written" if keeps_loss_flags(sample, plugin) else "lost"] += 1
        yield replace(
            sample,
            # An empty source makes the writer use the full id: own ids of two datasets may be equal.
            source="",
            images=tuple(_image(sample, image, part, image_store) for image in sample.images),
            meta={key: sample.meta[key] for key in KEPT_META if key in sample.meta} | no_tools,
        )
        advance()


def _image(sample: Sample, image: Path | ImageContent, part: Path, image_store: ImageStore) -> Path:
    if isinstance(image, ImageContent) and image_store.folder is None:
        raise DataError(f"{sample.id} has an image that is in the pool only; export with images=copy (--images copy)")
    return part / image_store.stored(image)


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
    rows = np.searchsorted(features.ids, table["id"])
    return {**table, **{name: column[rows] for name, column in features.scores.items()}}


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
        "seeds": {"run": run.config.seed, "selection": run.seed("selection", step)},
        "model": run.config.model.path,
        "verified": verified.is_checking(),
        "measured_by": None if features is None else features.info.get("fingerprint"),
    }


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
