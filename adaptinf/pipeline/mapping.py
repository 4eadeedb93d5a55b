"""The map of a step, which the explorer shows: made at the end of a step where its extra is installed."""

from __future__ import annotations

from importlib.util import find_spec

from adaptinf.arrays.neighbours import neighbours
from adaptinf.arrays.plane import on_plane
from adaptinf.data import Clusters, Features, SampleMap
from adaptinf.runs import Run
from adaptinf.words import one_line, shortened

PACKAGE = "umap"
"""Module that the extra `adaptinf[view]` brings: UMAP, which maps are made with."""


def is_installed() -> bool:
    """Tell whether the extra is installed; nothing of it is imported, which takes seconds."""
    return find_spec(PACKAGE) is not None


def make_map(run: Run, step: int) -> SampleMap | None:
    """Return the map of a step, made and saved if it has none; None where the step has no vectors or no clusters."""
    if run.has(step, SampleMap):
        return run.load(step, SampleMap)
    if not can_be_made(run, step):
        return None
    return run.once(step, SampleMap, lambda _: compute_map(run, step))


def try_map(run: Run, step: int) -> None:
    """Make the map of a step if it has none; where that fails it is said, and the run goes on."""
    try:
        make_map(run, step)
    except Exception as error:
        # UMAP compiles itself, and may fail in ways of its own on a machine. No stage reads the map, so no failure of
        # it is worth the end of a run; `adaptinf view` tries again, and there the failure ends the command.
        reason = shortened(one_line(error), 200)
        run.progress.note(f"warning: the map of step {step} was not made ({reason}); adaptinf view tries it again")


def can_be_made(run: Run, step: int) -> bool:
    """Tell whether a step has what a map is made from."""
    return run.has(step, Features, Clusters) and (run.stage_folder(step, Features) / Features.VECTORS).exists()


def compute_map(run: Run, step: int) -> SampleMap:
    """Return the map of a step from its vectors and clusters, which must be there."""
    features, clusters = run.load(step, Features), run.load(step, Clusters)
    assert features is not None and clusters is not None
    features.check_arrays(run.stage_folder(step, Features))
    seed = run.seed(SampleMap.stage, step)
    with run.progress.stage("map", len(features.ids)) as bar:
        plane = on_plane(features.vectors, seed=seed)
        found = neighbours(features.vectors, clusters.labels)
        bar.advance(len(features.ids))
    info = {"method": plane.method, "seed": seed, **({"why": plane.why} if plane.why else {})}
    return SampleMap(ids=features.ids, places=plane.places, neighbours=found, info=info)
