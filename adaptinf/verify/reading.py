"""Reading every file of a run once, in blocks: what is damaged, unlisted, without checksums, or a link."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adaptinf.data import Features, Trained
from adaptinf.errors import AdaptError, StoreError
from adaptinf.pool.stored import StoredDataset
from adaptinf.runs import Run
from adaptinf.runs.layout import EXPORTS
from adaptinf.sources.manifest import IDS, MANIFEST
from adaptinf.storage import checksums, tables, verified
from adaptinf.storage.inspection import Findings, Problem, inspect
from adaptinf.storage.sealed_text import is_whole_json
from adaptinf.verify.findings import Damage
from adaptinf.verify.folders import Place, reads

OnRead = Callable[[int], None]


@dataclass
class Reading:
    """What reading the folders of a run has found so far."""

    problems: dict[Place, list[Problem]] = field(default_factory=lambda: defaultdict(list))
    """Damaged, missing and foreign files of each folder."""
    unjudged: dict[Place, Problem] = field(default_factory=dict)
    """Folders that can be loaded, but whose checksums are damaged or gone, so that nothing else can be judged."""
    dropped: set[int] = field(default_factory=set)
    """Steps whose features have dropped their arrays."""
    unlisted: list[Path] = field(default_factory=list)
    unchecked: list[Path] = field(default_factory=list)
    adopted: dict[Path, str] = field(default_factory=dict)
    linked: dict[Path, Path] = field(default_factory=dict)
    num_folders: int = 0
    num_files: int = 0
    num_bytes: int = 0


def read_folder(run: Run, place: Place, is_sealed: bool, found: Reading, on_read: OnRead) -> None:
    """Read one finished folder into `found`.

    Args:
        run: the run.
        place: the folder.
        is_sealed: whether its version wrote checksums, so that a folder without has lost them.
        found: is added to.
        on_read: called with the number of bytes that were read.
    """
    folder = place.folder(run)
    _note_links(folder, found)
    findings = inspect(folder, on_read=on_read)
    if findings.problems or findings.checksums is None:
        # Once more: a run that goes on beside this process may have removed a file or the folder meanwhile.
        findings = inspect(folder)
        if not folder.exists():
            return
    found.num_files += findings.num_files
    found.num_bytes += findings.num_bytes
    if findings.checksums is None:
        _note_unjudged(run, place, findings, is_sealed, found)
        return
    found.num_folders += 1
    if findings.checksums.adopted:
        found.adopted[folder] = findings.checksums.adopted
    if place.stage == Features.stage and Features.VECTORS in findings.checksums.dropped:
        found.dropped.add(place.step)
    for problem in findings.problems:
        name = problem.path.relative_to(folder).as_posix()
        if problem.kind == "unlisted" and not reads(place.stage, name):
            found.unlisted.append(problem.path)
        else:
            found.problems[place].append(problem)


def _note_unjudged(run: Run, place: Place, findings: Findings, is_sealed: bool, found: Reading) -> None:
    """Note a folder without checksums; of those of version 0.1 only the form of the files can be looked at."""
    folder = place.folder(run)
    if findings.problems or is_sealed:
        with verified.checking(False):
            broken = list(form_problems(run, place))
        if broken:
            # Known to be damaged, whatever its checksums would say.
            found.num_files += 1
            found.problems[place] += broken
            return
    if findings.problems:
        found.num_files += 1
        found.unjudged[place] = findings.problems[0]
    elif is_sealed:
        found.num_files += 1
        path = folder / checksums.CHECKSUMS
        found.unjudged[place] = Problem(
            path=path, kind="missing", what="is missing, so that no other file of its folder is checked"
        )
    else:
        found.unchecked.append(folder)
        if place.stage == Features.stage and not (folder / Features.VECTORS).exists():
            found.dropped.add(place.step)
        found.problems[place] += form_problems(run, place)
        if not found.problems[place]:
            del found.problems[place]


def form_problems(run: Run, place: Place) -> Iterator[Problem]:
    """Yield what is wrong with the form of a folder's files, as far as it can be seen without checksums."""
    folder = place.folder(run)
    try:
        if place.kind is None:
            name = folder.name.partition("-")[2]
            _ = StoredDataset(place.step, name, folder).table
        else:
            place.kind.load(folder)
        lacking = Trained.lacking(folder) if place.kind is Trained else []
    except (AdaptError, OSError, KeyError, TypeError, ValueError) as error:
        yield Problem(path=folder, kind="damaged", what=f"cannot be loaded ({type(error).__name__}: {error})")
        return
    if lacking:
        yield Problem(path=folder, kind="missing", what=f"lacks {', '.join(lacking)}")


def _note_links(folder: Path, found: Reading) -> None:
    """Note each link below a folder, and the folder itself if it is one: their targets are read in their place."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            found.linked[path] = Path(os.path.realpath(path))


def export_damage(run: Run, found: Reading, on_read: OnRead) -> Iterator[Damage]:
    """Yield the damaged files of exports below the run folder, by the hashes in their manifests."""
    exports = run.folder / EXPORTS
    for folder in sorted(exports.iterdir()) if exports.is_dir() else ():
        if not folder.is_dir() or folder.suffix == ".part" or not _is_export(folder):
            continue
        loses = "what was exported; the run itself does not need it"
        way_out = f"delete {folder}, then repeat its adaptinf export"
        hashes = _hashes(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
        if hashes is None:
            wrong = "is damaged, or no manifest of an export" if (folder / MANIFEST).exists() else "is missing"
            yield Damage(path=folder / MANIFEST, what=wrong, loses=loses, way_out=way_out)
        for name, wanted in (hashes or {}).items():
            found.num_files += 1
            what = _other_content(folder / name, wanted, found, on_read)
            if what:
                yield Damage(path=folder / name, what=what, loses=loses, way_out=way_out)


def _is_export(folder: Path) -> bool:
    """Tell whether a folder is an export, which has a manifest or has lost it: other folders are their user's own."""
    return (folder / MANIFEST).exists() or (folder / IDS).exists()


def _hashes(manifest: Path) -> dict[str, str] | None:
    """Return name -> SHA-256 of an export's files; None for a manifest that is not as it was written."""
    try:
        value = tables.read_json(manifest)
        if is_whole_json(manifest.read_bytes()) is False:
            return None
    except (StoreError, OSError):
        return None
    files = value.get("files", {}) if isinstance(value, dict) else None
    return files if isinstance(files, dict) else None


def _other_content(path: Path, wanted: str, found: Reading, on_read: OnRead) -> str | None:
    try:
        if path.exists() and not path.is_file():
            return "is no ordinary file"
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    found.num_bytes += size
    on_read(size)
    return None if digest == wanted else "is damaged: its SHA-256 is not that of the manifest"
