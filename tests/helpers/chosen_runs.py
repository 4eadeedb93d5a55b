"""Runs of which only the choices count: which samples a step finds, selects and prunes; nothing is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adaptinf import config as configuration
from adaptinf import pipeline
from adaptinf.data import SavedPruning, Selection, Trained
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from adaptinf.training import save_weights
from tests.helpers.streams import rows, write_dataset, write_stream

SIZES = {"one": 12, "two": 6, "six": 9}
"""Samples of each dataset."""


def without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training leave the weights as they were."""

    def train(samples: Any, learner: Any, config: Any, *, out: Path, **_: Any) -> Trained:
        save_weights(learner, out)
        return Trained(info={"samples": len(samples), "optimizer_steps": 0})

    monkeypatch.setattr(pipeline.learning, "train", train)


def small_datasets(folder: Path) -> list[dict[str, Any]]:
    """Write datasets of SIZES, and return their entries for `stream:`."""
    return [write_dataset(folder, name, rows(count, word=name)) for name, count in SIZES.items()]


def stream_file(folder: Path, datasets: Sequence[dict[str, Any]], *, cap: Any = "none", **selection: Any) -> Path:
    """Write stream.yaml for random replay of eight samples a step, unless `selection` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {"method": "random_replay", "budget": 8, **selection}
    return write_stream(folder / "s.yaml", list(datasets), selection=chosen, pruning={"cap": cap})


def begun(
    folder: Path,
    datasets: Sequence[dict[str, Any]],
    *,
    num_steps: int | None = None,
    cap: Any = "none",
    **selection: Any,
) -> Run:
    """Return a run over such a stream after some of its steps, all of them by default."""
    run = Run.create(folder / "run", configuration.load(stream_file(folder, datasets, cap=cap, **selection)))
    run_all(run, num_steps=num_steps)
    return run


def selected(run: Run, step: int) -> set[str]:
    """Return the ids that a step selected."""
    selection = run.load(step, Selection)
    assert selection is not None
    return set(selection.ids)


def pruned(run: Run, step: int) -> set[str]:
    """Return the ids that a step pruned."""
    pruning = run.load(step, SavedPruning)
    assert pruning is not None
    return set(pruning.table["id"])
