"""The targets of a run, measured as its pool is, and before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptinf.errors import DataError
from adaptinf.executors import Executor
from adaptinf.extraction import extract
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_that_measures
from adaptinf.runs.targets import CONTENT_FILE, check_same, content_of, read_targets
from adaptinf.storage import store


def measure_targets(run: Run, step: int, executor: Executor, out: Path) -> None:
    """Measure `selection.targets` with the model and settings that measure the pool, and leave the features in `out`.

    Raises:
        ConfigError: they are not those of the step before.
        DataError: the file cannot be read, or a target has no vector: no answer token within `max_length`, an image
            that cannot be opened, a conversation that the model refuses.
    """
    samples = read_targets(run.settings)
    content = content_of(samples)
    check_same(run, step, content)
    features = extract(
        samples,
        learner_that_measures(run, step),
        run.settings.extraction,
        out=out,
        executor=executor,
        seed=run.settings.seed,
        progress=run.progress,
    )
    without = features.ids[~np.any(np.asarray(features.vectors) != 0, axis=1)]
    if len(without):
        id = str(without[0])
        why = features.unusable.get(id, "its gradient is zero or not finite")
        raise DataError(
            f"selection.targets: {run.settings.selection.targets}: {len(without):,} of {len(samples):,} targets have "
            f"no vector, the first is {id!r}: {why}; correct the file, or take them out"
        )
    skills = [str(sample.meta.get("skill") or "") for sample in samples]
    store.write_json_whole(out / CONTENT_FILE, {"content": content, "skills": skills})
