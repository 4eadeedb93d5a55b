"""What can be exported of a run, and where to; everything else is refused before a file is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adaptinf.errors import ConfigError, ModelError, StoreError
from adaptinf.runs import Run
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.base import KeptBase
from adaptinf.runs.damage import weights_folder
from adaptinf.runs.gates import is_rolled_back, newest_kept, rolled_back_steps
from adaptinf.runs.identity import identities, listed
from adaptinf.runs.layout import CONFIG, EXPORTS
from adaptinf.storage import drafts, space
from adaptinf.words import format_bytes

Form = Literal["adapter", "merged", "whole"]
"""What an exported folder holds: an adapter of the base model; the base model with adapters merged into its weights; or
all weights as full tuning has trained them."""
MARGIN = 2**26
"""Free bytes that are wanted beside the weights, for tokenizer, card and the file system itself."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """An export that can be made."""

    run: Run
    """The run."""
    step: int
    """The step after which the model is taken."""
    form: Form
    """What the folder will hold."""
    dtype: str | None
    """Type that the weights are written in; None: as they were trained."""
    out: Path
    """The new folder, absolute."""
    weights: Path
    """Folder of what the step trained."""
    commit: str | None = None
    """Commit of the base model on the hub, as the run has recorded it; None: not known, or it is a folder."""


def checked_request(run: Run, step: int | None, out: Path, *, merge: bool) -> Request:
    """Return an export that can be made.

    Args:
        run: the run.
        step: number of the step; None: the newest finished one that the gate has not rolled back.
        out: the new folder.
        merge: whether the folder shall hold whole weights in the base model's own type.

    Raises:
        ConfigError: the step is not finished, its adapter alone is not its model, or something stands at `out`.
        ModelError: the base model is another one than the step was trained on, or its weights are quantised.
        StoreError: weights of the run are missing or damaged.
    """
    step = _finished_step(run, step)
    place = _checked_place(run, out)
    weights = weights_folder(run, step)
    form, dtype = _form_of(run, step, weights, merge=merge)
    commit = _checked_base(run, step)
    _check_space(run, weights, form, place)
    return Request(run=run, step=step, form=form, dtype=dtype, out=place, weights=weights, commit=commit)


def _finished_step(run: Run, step: int | None) -> int:
    num_finished = run.num_finished
    if not num_finished:
        raise ConfigError(
            f"{run.folder} has no finished step, so there is no trained model; take one with adaptinf step {run.folder}"
        )
    last = num_finished - 1
    if step is None:
        newest = newest_kept(run, last)
        if newest < 0:
            raise ConfigError(
                f"{run.folder}: the gate has rolled back every finished step, so the model is still the one that the "
                "run began with, and there is nothing to export"
            )
        return newest
    if not 0 <= step <= last:
        finished = "step 0" if not last else f"steps 0 to {last}"
        state = "has begun and is not finished" if step == num_finished < run.num_begun else "does not exist"
        raise ConfigError(f"{run.folder}: step {step} {state}; finished: {finished} (left out: the last one)")
    if is_rolled_back(run, step):
        newest = newest_kept(run, step)
        instead = "there is none before it" if newest < 0 else f"the model is still that of step {newest}: export that"
        raise ConfigError(
            f"{run.folder}: the gate has rolled step {step} back; {instead} (what the step had trained is in "
            f"{run.rejected_model_folder(step)})"
        )
    return step


def rolled_back_line(run: Run, step: int) -> str | None:
    """Return a sentence on the steps that the gate has rolled back, before and after a step; None: there are none."""
    steps = rolled_back_steps(run, run.num_finished)
    before, after = [other for other in steps if other < step], [other for other in steps if other > step]
    parts = [
        *([f"what {_numbered(before)} trained is not in it"] if before else []),
        *([f"{_numbered(after)} came later and changed nothing"] if after else []),
    ]
    return f"The gate of the run has rolled steps back: {'; '.join(parts)}." if parts else None


def _numbered(steps: Sequence[int]) -> str:
    return f"step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}"


def _checked_place(run: Run, out: Path) -> Path:
    """Return the absolute path of a folder that can be made."""
    place = Path(os.path.abspath(out))
    if place == Path.cwd():
        raise ConfigError(f"--out {out} is the current folder; name a new one inside it")
    if not drafts.is_empty_folder(place):
        drafts.refuse_existing(place)
    inside = place.resolve()
    home = run.folder.resolve()
    if inside.is_relative_to(home) and not inside.is_relative_to(home / EXPORTS):
        raise ConfigError(
            f"--out {out} lies in the run folder; name a place outside of it, or in {run.folder / EXPORTS}"
        )
    return place


def _form_of(run: Run, step: int, weights: Path, *, merge: bool) -> tuple[Form, str | None]:
    """Return what the folder will hold, and the type that its weights are written in."""
    from adaptinf.models.files import model_folder
    from adaptinf.models.folders import ADAPTER_FILE
    from adaptinf.models.stored import stored_type

    settings = run.settings
    is_adapter = (weights / ADAPTER_FILE).is_file()
    if is_adapter and not merge:
        beneath = "those of earlier steps are" if step else "model.adapter is"
        if settings.training.adapter == "merge" and (step or settings.model.adapter is not None):
            raise ConfigError(
                f"{run.folder}: the adapter of step {step} belongs on a base model into which {beneath} merged "
                "(training.adapter: merge), so alone it is not the model; add --merge"
            )
        return "adapter", None
    if not merge:
        return "whole", None
    folder, _ = model_folder(settings.model.path)
    if folder is None:
        raise ModelError(
            f"model.path={settings.model.path} is not there; bring it back, or download it again; if it has moved, "
            f"name its new place as model.path in {run.folder / CONFIG}"
        )
    quantised = settings.model.quantization
    if quantised != "none":
        raise ModelError(
            f"{run.folder}: the run worked with a base model in {quantised} (model.quantization), and merged into "
            "other weights its adapter gives another model than the tested one; leave out --merge"
        )
    return ("merged" if is_adapter else "whole"), stored_type(folder)


def _checked_base(run: Run, step: int) -> str | None:
    """Return the commit of the base model on the hub, where it is that which the step was trained on.

    Raises:
        ConfigError: another one was accepted since.
        StoreError: its files differ from those that the run has recorded.
    """
    for change in accepted_changes(run):
        if change.what == "base" and change.step > step:
            raise ConfigError(
                f"{run.folder}: step {step} was trained on another base model than the present one, which was accepted "
                f"from step {change.step} on; export step {change.step} or a later one"
            )
    kept = KeptBase.read(run.base_file)
    if kept is None:
        return None
    found = identities(run.settings, kept.models, run.progress)
    for key in ("model.path", *(["model.adapter"] if run.settings.training.adapter == "merge" else [])):
        before, now = kept.models.get(key), found.get(key)
        if before is not None and now is not None and (differing := before.differences(now)):
            raise StoreError(
                f"{run.folder}: {key}={now.path} is another model than that of the run: {listed(differing)}; bring the "
                "former one back"
            )
    return kept.models["model.path"].commit if "model.path" in kept.models else None


def _check_space(run: Run, weights: Path, form: Form, out: Path) -> None:
    """Refuse to begin where the disk has no room for the weights.

    Raises:
        ConfigError: with what is needed and what is free.
    """
    from adaptinf.models.files import model_folder
    from adaptinf.models.stored import weights_bytes

    base, _ = model_folder(run.settings.model.path)
    source = base if form == "merged" and base is not None else weights
    needed = weights_bytes(source) + MARGIN
    where, free = space.free_disk(out.parent)
    if free < needed:
        raise ConfigError(
            f"--out {out}: about {format_bytes(needed)} are needed, and {format_bytes(free)} are free at {where}; free "
            "some space, or choose another disk"
        )
