"""The two configurations of a run: that of its user against the settings that its steps were made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adaptinf import config as configuration
from adaptinf.config.schema import folder_list
from adaptinf.errors import AdaptError
from adaptinf.runs import Run
from adaptinf.runs.settings import as_placed, check_same, resolve
from adaptinf.storage import sealed_text, verified
from adaptinf.verify.findings import Damage

LOSES_PINNED = "the settings that the steps were made with: no step can be made, or made again, exactly as before"


def pinned_damage(run: Run) -> Iterator[Damage]:
    """Yield what is wrong with the settings that the steps use."""
    path = run.pinned_config_file
    copy = f"bring back a copy, or copy {run.config_file} there if it has not been edited since the first step"
    if not run.num_begun:
        return
    if not path.exists():
        yield Damage(path=path, what="is missing", loses=LOSES_PINNED, way_out=copy)
        return
    try:
        verified.check_ordinary(path)
        if sealed_text.is_whole(path.read_bytes()) is False:
            what = "is damaged: its checksum differs"
            yield Damage(path=path, what=what, loses=LOSES_PINNED, way_out=copy)
        elif not isinstance(configuration.read_yaml_file(path), dict):
            yield Damage(path=path, what="holds no settings", loses=LOSES_PINNED, way_out=copy)
        else:
            configuration.load(path)
    except (AdaptError, OSError) as error:
        yield Damage(path=path, what=f"cannot be read ({error})", loses=LOSES_PINNED, way_out=copy)


def is_sealed(run: Run) -> bool:
    """Tell whether the settings of the steps have a checksum, as those of version 0.1 do not."""
    path = run.pinned_config_file
    return path.is_file() and sealed_text.is_whole(path.read_bytes()) is not None


def config_damage(run: Run) -> Iterator[Damage]:
    """Yield where config.yaml differs from the settings of the steps in what must not differ. These must be whole."""
    if not run.num_begun:
        return
    try:
        pinned = configuration.load(run.pinned_config_file)
        before = resolve(pinned, pinned)
        now = run.settings
        if "auto" in (before.model.dtype, now.model.dtype):
            # Answered by the device of the first step; without it the two cannot be compared.
            same = {"model": now.model.model_copy(update={"dtype": before.model.dtype})}
            now = now.model_copy(update=same)
        way_out = f"put it back in {run.config_file}, or bring back a copy"
        check_same(run.folder, before, as_placed(now, before), way_out, is_tested=run.is_tested)
    except AdaptError as error:
        yield Damage(
            path=run.config_file,
            what=f"differs from {run.pinned_config_file}: {error}",
            loses="what the next steps are to be made with: they are refused",
            way_out=f"correct it, or bring back a copy; {run.pinned_config_file} has the settings of the steps",
        )


def moved_damage(run: Run) -> Iterator[Damage]:
    """Yield the paths of config.yaml that are not those of the steps, and where nothing is."""
    try:
        pinned = configuration.load(run.pinned_config_file)
    except AdaptError:
        return
    pairs = [("model.path", pinned.model.path, run.config.model.path)]
    for section in ("stream", "evaluation"):
        both = zip(getattr(pinned, section), getattr(run.config, section), strict=False)
        for number, (was, now) in enumerate(both):
            pairs += [(f"{section}.{number}.{key}", getattr(was, key), getattr(now, key)) for key in ("path", "images")]
    for place, was, now in pairs:
        if now != was and not _is_there(now):
            yield Damage(
                path=run.config_file,
                what=f"has {place}={now!r}, where nothing is; the steps were made with {was!r}",
                loses="where the next steps find their files",
                way_out="correct the path, or bring back a copy",
            )


def _is_there(place: str | list[str] | None) -> bool:
    return bool(place) and all(Path(path).exists() for path in folder_list(place or []))


def unusable_config(run: Run, error: str) -> Damage:
    """Return the damage of a config.yaml that cannot be used at all."""
    return Damage(
        path=run.config_file,
        what=f"cannot be used: {error}",
        loses="what the next steps are to be made with: no command but verify works on the run",
        way_out=f"bring back a copy, or copy {run.pinned_config_file} there, which has the settings of the steps",
    )
