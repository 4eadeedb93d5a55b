"""The files of the base model, of a given adapter and of a proxy: hashed again, whatever their sizes and times say.

A run trusts a file whose size and times are as they were, which damage to the disk leaves alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from adaptinf.errors import AdaptError
from adaptinf.progress import Progress
from adaptinf.runs import Run
from adaptinf.runs.base import KeptBase
from adaptinf.runs.identity import ModelIdentity
from adaptinf.storage.digests import file_digest
from adaptinf.storage.sealed_text import is_whole_json
from adaptinf.verify.findings import Damage
from adaptinf.verify.reading import Reading

MEGABYTE = 10**6
LOSES = "the model that the next steps start from and measure with: they would use what is there now"


def model_damage(run: Run, reading: Reading, progress: Progress) -> Iterator[Damage]:
    """Yield the files of the recorded models whose content is not what the steps worked with.

    Models that are elsewhere now, or nowhere, are left out: a run compares those before it uses them.
    """
    models = _recorded(run)
    named = {
        "model.path": run.config.model.path,
        "extraction.model": run.config.extraction.model,
        "model.adapter": run.config.model.adapter,
    }
    for key, model in models.items():
        folder = _folder(model.path) if named.get(key) == model.path else None
        if folder is not None:
            for path, what in _faults(key, model, folder, reading, progress):
                yield Damage(path=path, what=f"{what} ({key})", loses=LOSES, way_out=_way_out(run))


def _way_out(run: Run) -> str:
    accept = f"adaptinf accept {shlex.quote(str(run.folder))} base"
    return f"bring back a copy of this file; or, if you have changed it on purpose, {accept}"


def _recorded(run: Run) -> Mapping[str, ModelIdentity]:
    """Return setting -> model that the steps worked with; nothing of a damaged record, which is named as such."""
    try:
        if not run.base_file.is_file() or is_whole_json(run.base_file.read_bytes()) is False:
            return {}
        kept = KeptBase.read(run.base_file)
    except (AdaptError, OSError):
        return {}
    return {} if kept is None else kept.models


def _folder(path: str) -> Path | None:
    if Path(path).is_dir():
        return Path(path)
    # Only for a name of the hub, as the import takes seconds.
    from adaptinf.models.files import model_folder

    return model_folder(path)[0]


def _faults(
    key: str, model: ModelIdentity, folder: Path, reading: Reading, progress: Progress
) -> Iterator[tuple[Path, str]]:
    """Yield each file of a model that is not as it was recorded, and what is wrong with it."""
    names = [name for name in sorted(model.files) if (folder / name).is_file()]
    total = sum((folder / name).stat().st_size for name in names)
    with progress.stage(f"hash {key}", 1 + total // MEGABYTE, unit="MB") as bar:
        for name in names:
            path = folder / name
            with suppress(FileNotFoundError):  # a model that is moved away meanwhile
                size = path.stat().st_size
                what = _fault(path, model.files[name])
                reading.num_files, reading.num_bytes = reading.num_files + 1, reading.num_bytes + size
                if what:
                    yield path, what
                bar.advance(size // MEGABYTE)


def _fault(path: Path, digest: str) -> str:
    """Return what is wrong with a file; empty where it is as it was recorded."""
    try:
        return "" if file_digest(path, is_trusted=False) == digest else "is not what the steps worked with"
    except FileNotFoundError:
        raise
    except (AdaptError, OSError) as error:
        return f"cannot be read ({error})"
