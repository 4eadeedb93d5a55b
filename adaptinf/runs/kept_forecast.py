"""What `adaptinf doctor` has measured on this machine, kept for the runs that it was measured for.

It is in the user's cache folder: nothing but the time left depends on it, and it may be deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from adaptinf.config import RunConfig
from adaptinf.data import Features, Trained
from adaptinf.errors import StoreError
from adaptinf.runs.heartbeat import host
from adaptinf.storage import cache, store, tables
from adaptinf.storage.tables import as_json_text

KIND = "forecasts"
FILE = "seconds.json"
STAGES = (Features.stage, Trained.stage)
"""Stages whose cost per sample the doctor measures."""


def keep(settings: RunConfig, seconds: Mapping[str, float]) -> None:
    """Keep stage -> seconds per sample for runs with these settings; where it cannot be kept, it is not."""
    folder = cache.own_folder(KIND, _key(settings))
    if folder is not None:
        try:
            store.write_json_whole(folder / FILE, dict(seconds))
        except OSError:  # a full disk, or a home that cannot be written
            cache.remove(folder)


def kept(settings: RunConfig) -> dict[str, float]:
    """Return what was kept for these settings on this machine; empty where nothing was."""
    path = cache.cache_folder() / KIND / _key(settings) / FILE
    try:
        found = tables.read_json(path) if path.is_file() else {}
    except (StoreError, OSError):
        return {}
    known = found if isinstance(found, dict) else {}
    return {stage: float(known[stage]) for stage in STAGES if isinstance(known.get(stage), int | float)}


def _key(settings: RunConfig) -> str:
    """Return a digest of the machine and of the settings that decide the speed; `auto` and its answer are one."""
    model, extraction, training = settings.model, settings.extraction, settings.training
    made_of = {
        "host": host(),
        "model": model.model_dump(mode="json", exclude={"dtype", "max_length"}),
        "extraction": [extraction.model, extraction.vector, extraction.dim],
        "training": [training.tune, training.batch_size, training.packing],
        "executor": settings.executor,
    }
    return hashlib.sha256(as_json_text(made_of).encode("utf-8")).hexdigest()[:32]
