"""The stages before a choice: what the model can use of the new dataset, measurements of the pool, its clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptinf import registry
from adaptinf.data import Checked, Clusters, Features
from adaptinf.data.checked import CONTENT
from adaptinf.errors import StoreError
from adaptinf.executors import Executor
from adaptinf.pipeline.refreshing import Measured, find_clusters_of, measure_pool
from adaptinf.pipeline.targeting import measure_targets
from adaptinf.pipeline.watched import with_model
from adaptinf.pool import Pool
from adaptinf.pool.intake import content_of
from adaptinf.runs import Run
from adaptinf.runs.expected import reads_arrays
from adaptinf.runs.methods import FEATURE_INPUTS
from adaptinf.storage.store import Artifact


def needs_features(run: Run) -> bool:
    """Tell whether the run's method needs measurements of the model."""
    return bool(FEATURE_INPUTS & registry.selector[run.settings.selection.method].needs)


def check_dataset(run: Run, step: int, pool: Pool) -> Checked:
    """Find out what the model cannot use of the new dataset, before anything is measured."""

    def compute(_: Path) -> Checked:
        from adaptinf.models.checks import check
        from adaptinf.models.loading import load_reader

        new = pool.view(pool.ids[pool.arrived == step])
        with run.progress.stage("check", len(new)) as bar:
            stage = f"dataset {run.settings.stream[step].name}"
            found = check(load_reader(run.settings.model), new, stage, on_read=bar.advance)
        for line in found.lines(run.settings.model.max_length):
            run.progress.note(f"{run.settings.stream[step].name}: {line}")
        content = content_of(run.dataset_folder(step))
        return Checked(unusable=found.unusable, info={**found.counts(), CONTENT: content})

    checked = run.once(step, Checked, compute)
    run.log_metrics(step, Checked.stage, {"rows": checked.info["rows"], "unusable": len(checked.unusable)})
    return checked


def measure(run: Run, step: int, pool: Pool, columns: Mapping[str, np.ndarray], executor: Executor) -> Measured:
    """Measure the pool with the model as it is before this step's training; scores of the data are put beside."""
    clusters: list[Clusters | None] = [None]

    def compute(part: Path) -> Features:
        if run.settings.selection.targets is not None:
            measure_targets(run, step, executor, part / Features.TARGETS)
        measured = measure_pool(run, step, pool, executor, part)
        clusters.append(measured.clusters)
        return replace(measured.features, scores={**measured.features.scores, **columns})

    features = with_model(run, step, Features, compute)
    if kinds := reads_arrays(run, step):
        _check_arrays(run, step, features, kinds)
    refresh = features.info.get(Features.REFRESH)
    measured = {} if refresh is None else {"measured": refresh["measured"]}
    numbers = {"rows": len(features.ids), "unscored": features.info["unscored"], **measured}
    run.log_metrics(step, Features.stage, numbers)
    return Measured(features=features, clusters=clusters[-1])


def _check_arrays(run: Run, step: int, features: Features, kinds: Sequence[type[Artifact]]) -> None:
    """Check that the arrays are there that stages of a step are made from.

    Raises:
        StoreError: they are not; for a finished step that has dropped them, with what to delete.
    """
    folder = run.stage_folder(step, Features)
    if step < run.num_finished - 1 and not features.vectors.shape[1]:
        names = " and ".join(str(run.stage_folder(step, kind)) for kind in kinds)
        raise StoreError(
            f"{names}: to make this again the arrays of {folder} are needed, which extraction.keep: last has removed; "
            f"bring back a copy, or delete {folder} too, so that its step is measured again"
        )
    features.check_arrays(folder)


def find_clusters(run: Run, step: int, measured: Measured, executor: Executor) -> Clusters:
    """Find the pool's pseudo-skill clusters, unless they were found while it was measured."""
    found = run.once(
        step, Clusters, lambda _: measured.clusters or find_clusters_of(run, step, measured.features, executor)
    )
    asked, num_clusters = run.config.clustering.clusters, len(found.centers)
    if asked != "auto" and num_clusters < asked:
        run.progress.note(
            f"clustering.clusters={asked}, but only {num_clusters} at step {step}: no more of its vectors differ"
        )
    return found


def drop_old_arrays(run: Run, step: int) -> None:
    """Remove vectors and embeddings of earlier steps under `extraction.keep: last`; their scores stay."""
    if run.settings.extraction.keep == "all":
        return
    for older in range(step):
        Features.drop_arrays(run.stage_folder(older, Features))
