"""The next dataset of a run's stream joins its pool."""

from __future__ import annotations

from typing import Any

from adaptinf import store, tables
from adaptinf.formats import read
from adaptinf.intake import add_dataset
from adaptinf.runs import Run


def join(run: Run, step: int) -> dict[str, Any]:
    """Add dataset number `step` to the pool, unless it is there, and return its info.json.

    Raises:
        DataError: the file cannot be read, or has a bad row under `on_bad_row: stop`.
    """
    folder, dataset = run.dataset_folder(step), run.config.stream[step]
    if folder.exists():
        return dict(tables.read_json(folder / "info.json"))
    rows = read(dataset.path, dataset.format, dataset.images, source=dataset.name)
    part = store.begin(folder)
    with run.logged(step, "pool"):
        info = add_dataset(
            run.pool_folder,
            step,
            dataset.name,
            rows,
            images=run.config.data.images,
            on_bad_row=run.config.data.on_bad_row,
            part=part,
            progress=run.progress,
            origin={"path": dataset.path, "image_folder": dataset.images, "format": dataset.format},
        )
    store.finish(folder)
    if info["rejected"]:
        run.progress.note(f"{dataset.name}: {info['rejected']} rows rejected, see {folder / 'rejected.jsonl'}")
    run.log_metrics(step, "pool", {"rows": info["rows"], "rejected": info["rejected"], "mended": info["mended"]})
    return info
