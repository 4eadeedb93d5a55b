"""The trial of a run's model: before its first step, once for the same model and settings, kept with the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import adaptinf
from adaptinf.errors import StoreError
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_before
from adaptinf.storage import store, tables

WEIGHTS = (".safetensors", ".bin", ".json", ".jinja")
"""Files of a model folder whose size and time say whether it has changed."""


def tried(run: Run) -> list[str]:
    """Try the model that a run's next step trains, unless the same was tried before; return what to know, a line each.

    Raises:
        ModelError: a check failed; nothing has been measured.
    """
    from adaptinf.models.trial import Trial

    key = _key(run)
    kept = _kept(run.trial_file)
    if kept.get("key") == key:
        trial = Trial.from_json(kept["findings"])
    else:
        trial = _try(run)
        store.write_json_sealed(run.trial_file, {"key": key, "findings": trial.as_json()})
    trial.refuse_bad(run.settings.model.path)
    return [] if kept.get("key") == key else trial.notes


def _try(run: Run) -> Any:
    """Return the trial (of torch's modules, so untyped here); the model is released at once."""
    from adaptinf.models.memory import release
    from adaptinf.models.trial import Trial, try_model
    from adaptinf.training.packing_trial import packing_finding

    with run.progress.stage("try the model", None, unit="checks") as bar:
        try:
            learner = learner_before(run, run.num_finished).make()
            trial = try_model(learner)
            if run.settings.training.packing:
                trial = Trial(findings=(*trial.findings, packing_finding(learner)))
            del learner
        finally:
            release()
        bar.advance(len(trial.findings))
        return trial


def _key(run: Run) -> dict[str, Any]:
    """Return what a trial depends on: settings of the model, its files, this version."""
    model, training = run.settings.model, run.settings.training
    folders = [Path(place) for place in (model.path, model.adapter) if place]
    files = {
        str(file): [file.stat().st_size, file.stat().st_mtime_ns]
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix in WEIGHTS
    }
    packing = {"packing": True} if training.packing else {}
    return {"model": model.model_dump(), "tune": training.tune, "files": files, "code": adaptinf.__version__, **packing}


def _kept(path: Path) -> dict[str, Any]:
    """Return the trial that was kept; empty where there is none, or where it cannot be read, as it can be made anew."""
    try:
        found = tables.read_json(path) if path.exists() else {}
    except StoreError:
        return {}
    return found if isinstance(found, dict) else {}
