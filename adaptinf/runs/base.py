"""The base model of a run: recorded with its first step in steps/base.json, and the same for all later ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptinf.data import Evaluation, Features, Trained
from adaptinf.errors import ConfigError, StoreError
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.acceptance import Accepted, accepting, note_accepted
from adaptinf.runs.identity import ModelIdentity, identities, listed
from adaptinf.runs.plugin_changes import note_changed_plugins, plugin_digests
from adaptinf.storage import store, tables

NOT_COMPARED = "the base model is recorded from step {step} on; that of earlier steps is not known, as {maker} did not"


@dataclass(frozen=True, kw_only=True)
class KeptBase:
    """The content of steps/base.json."""

    from_step: int
    """First step whose base model is known."""
    models: Mapping[str, ModelIdentity] = field(default_factory=dict)
    """Setting that names a model -> its content."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Path of each plug-in file -> hash of its content."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        models = {key: model.as_json() for key, model in self.models.items()}
        return {"from_step": self.from_step, "models": models, "plugins": dict(self.plugins)}

    def write(self, path: Path) -> None:
        """Write the file, at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_json_sealed(path, self.as_json())

    @classmethod
    def read(cls, path: Path) -> KeptBase | None:
        """Return what a run has recorded; None: nothing.

        Raises:
            StoreError: the file is damaged.
        """
        if not path.exists():
            return None
        found = tables.read_json(path)
        try:
            models = {key: ModelIdentity.from_json(value) for key, value in found["models"].items()}
            return cls(from_step=int(found["from_step"]), models=models, plugins=dict(found["plugins"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{path} is damaged ({error!r}); bring back a copy, or delete it: the base model is then recorded "
                "anew, and not compared with that of earlier steps"
            ) from error


def check_base(run: Run) -> None:
    """Compare the files of the base model, a given adapter and a proxy with those of the steps before.

    Records them where the run has not; files that nobody has touched are not read. A model that is not there is left
    to loading, which names it. The caller holds the run's lock.

    Raises:
        StoreError: a file differs; the message names the files, both values and the ways out.
    """
    kept = _kept(run)
    known = {} if kept is None else kept.models
    found = identities(run.settings, known, run.progress)
    if kept is None:
        _begin(run, found)
        return
    changed = _changed(kept.models, found)
    if changed:
        raise StoreError(_refusal(run, kept, found, changed))
    plugins = plugin_digests(run)
    note_changed_plugins(run, kept.plugins, plugins)
    new = KeptBase(from_step=kept.from_step, models={**known, **found}, plugins=plugins)
    if new.as_json() != kept.as_json():
        new.write(run.base_file)


def changed_base(run: Run) -> str | None:
    """Return which model is not that of the steps before, in a phrase; None: all are, or none was recorded.

    Every file is read, whatever its size and times say.

    Raises:
        StoreError: steps/base.json is damaged.
    """
    kept = _kept(run)
    if kept is None:
        return None
    found = identities(run.settings, {}, run.progress)
    changed = _changed(kept.models, found)
    parts = [
        f"{key}={found[key].path} is another model than in the steps before: {now}" for key, now in changed.items()
    ]
    return "; ".join(parts) or None


def accept_base(run: Run) -> Accepted | None:
    """Take the base model as it is now for the steps to come; None: it is the same as before.

    The caller holds the run's lock.

    Raises:
        ConfigError: no step has begun, or the model is not there.
    """
    if not _has_begun(run):
        raise ConfigError(f"{run.folder}: no step has begun, so no base model is recorded; there is nothing to accept")
    kept = _kept(run)
    found = identities(run.settings, {} if kept is None else kept.models, run.progress)
    if "model.path" not in found:
        raise ConfigError(f"model.path={run.settings.model.path} is not there, so it cannot be accepted")
    changed = _changed_weights(run) if kept is None else _changed(kept.models, found)
    change = Accepted(
        what="base",
        step=run.num_finished,
        was={key: kept.models[key].shown if kept is not None else _measured_with(run) for key in changed},
        now={key: found[key].shown for key in changed},
        text="; ".join(f"{key}: {phrase}" for key, phrase in changed.items()),
    )
    if changed:
        # Recorded first: after a kill in between, the next call finds the same change again.
        note_accepted(run, change)
    first = run.num_finished if kept is None else kept.from_step
    models = {**({} if kept is None else kept.models), **found}
    KeptBase(from_step=first, models=models, plugins=plugin_digests(run)).write(run.base_file)
    return change if changed else None


def unfinished_work(run: Run) -> tuple[Path, ...]:
    """Return the folders of unfinished stages that were begun with the former base model."""
    folders = [run.stage_folder(run.num_finished, kind) for kind in (Features, Trained, Evaluation)]
    folders.append(run.stage_folder(BASE_STEP, Evaluation))
    return tuple(part for part in map(store.part_of, folders) if part.exists())


def _kept(run: Run) -> KeptBase | None:
    """Return what is recorded; None also for a run whose steps were all deleted, which begins again."""
    return KeptBase.read(run.base_file) if _has_begun(run) else None


def _has_begun(run: Run) -> bool:
    return run.num_begun > 0 or run.step_folder(BASE_STEP).exists()


def _changed(before: Mapping[str, ModelIdentity], now: Mapping[str, ModelIdentity]) -> dict[str, str]:
    """Return setting -> which files differ, for the models that do."""
    both = {key: before[key].differences(now[key]) for key in before if key in now}
    return {key: listed(differences) for key, differences in both.items() if differences}


def _refusal(run: Run, kept: KeptBase, found: Mapping[str, ModelIdentity], changed: Mapping[str, str]) -> str:
    parts = [
        f"{key}={found[key].path} is another model than in the steps before: {files}; digest "
        f"{kept.models[key].shown} then, {found[key].shown} now"
        for key, files in changed.items()
    ]
    return f"{run.folder}: {'; '.join(parts)}. {_ways_out(run)}"


def _ways_out(run: Run) -> str:
    return (
        f"Bring the former model back, or take this one as it is from step {run.num_finished} on: "
        f"{accepting(run, 'base')}"
    )


def _begin(run: Run, found: Mapping[str, ModelIdentity]) -> None:
    """Record the base model of a run that has not; one of an earlier version is compared as far as that goes."""
    if _has_begun(run):
        changed = _changed_weights(run)
        if changed:
            (phrase,) = changed.values()
            raise StoreError(f"{run.folder}: model.path={run.settings.model.path}: {phrase}. {_ways_out(run)}")
        made_by = run.made_by()
        maker = "the version that took them" if made_by is None else f"version {made_by.version}"
        known = " record it" if _measured_with(run) is None else " record its files; its weights are those of step 0"
        run.progress.note(f"note: {NOT_COMPARED.format(step=run.num_finished, maker=maker)}{known}")
    if found:
        first = run.num_finished if _has_begun(run) else 0
        KeptBase(from_step=first, models=found, plugins=plugin_digests(run)).write(run.base_file)


def _measured_with(run: Run) -> str | None:
    """Return the fingerprint of the weights that step 0 measured with; None: it did not, or did not record it."""
    path = run.stage_folder(0, Features) / store.INFO
    found: dict[str, Any] = tables.read_json(path) if path.exists() else {}
    return found.get("fingerprint")


def _changed_weights(run: Run) -> dict[str, str]:
    """Compare the weights with those that step 0 measured with, where a run has not recorded its base model."""
    from adaptinf.models.memory import release
    from adaptinf.runs.learners import learner_that_measures

    before = _measured_with(run)
    if before is None:
        return {}
    with run.progress.stage("compare the model", 1, unit="models") as bar:
        now = learner_that_measures(run, 0).make().fingerprint
        release()
        bar.advance()
    if now == before:
        return {}
    return {"model.path": f"weights of fingerprint {now}, but step 0 measured with {before}"}
