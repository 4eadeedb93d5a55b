"""Seconds of the trial that a run makes of its model before its first step, on tiny models of many families.

python -m benchmarks.trial            # a minute
python -m benchmarks.trial --quick    # two families; shows that the script runs
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import torch

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.errors import AdaptError
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.quiet import silence_libraries
from adaptinf.models.trial import try_model
from benchmarks.reporting import Report, arguments_of, significant
from tests.helpers.families import FAMILIES

QUICK = ("llava15", "llama3")
"""Families of the quick run."""


def main() -> None:
    options = arguments_of(__doc__)
    silence_libraries()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    report = Report("trial", "The trial of a model before a run", packages=("torch", "transformers", "peft"))
    report.text(
        "One thread, float32, an adapter of rank 4, the projector trained where there is one. `load` is loading with "
        "the search for decoder blocks and linear layers; `trial` everything that a run tries before its first step.\n"
    )
    rows = [row for name in (QUICK if options.quick else FAMILIES) if (row := _row(name)) is not None]
    report.table(rows)
    slowest = max(rows, key=lambda row: float(str(row["trial, s"])))
    report.text(f"Slowest trial: {slowest['family']}, {slowest['trial, s']} s.\n")
    report.write(options.out)


def _row(name: str) -> dict[str, object] | None:
    """Return the seconds of one family; None where the environment lacks a package that it needs."""
    family = FAMILIES[name]
    with tempfile.TemporaryDirectory() as folder:
        try:
            family.write(Path(folder))
            started = time.perf_counter()
            learner = load(
                ModelConfig(
                    path=folder,
                    dtype="float32",
                    max_length=512,
                    projector="trained" if family.has_vision else "frozen",
                    lora=LoraConfig(rank=4, alpha=8),
                )
            )
            loaded = time.perf_counter() - started
            learner = begin_adapter(learner, seed=0)
        except (AdaptError, ImportError):
            return None
    started = time.perf_counter()
    trial = try_model(learner)
    seconds = time.perf_counter() - started
    bad = ", ".join(found.name for found in trial.findings if not found.is_good)
    return {"family": name, "load, s": significant(loaded), "trial, s": significant(seconds), "refused for": bad or "-"}


if __name__ == "__main__":
    main()
