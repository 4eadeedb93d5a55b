"""mini-liit: small lifelong benchmarks that the package generates, so that a comparison is one command.

    adaptinf compare mini-liit-quick --methods adapt_plus,random_replay,oracle --seeds 0,1,2

Each seed has its own stream, tests and order, and the base models alternate over seeds, so intervals over seeds include
this variation. docs/mini-liit.md describes the design, which was fixed before methods were compared on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import Overrides, RunConfig
from adaptinf.demo.language_model import write_language_model
from adaptinf.demo.mixture import LIIT, LIIT_B, TEXT, Mixture
from adaptinf.demo.stream import BASE_PATHS, LORA, VECTOR_DIM, write_stream
from adaptinf.errors import ConfigError
from adaptinf.selection import auto_settings
from adaptinf.storage import lock, store

VALIDATION = ":validation"
"""Suffix of a benchmark's name: evaluation on its validation split, which may be used to choose settings."""
STREAM_FILE, VALIDATION_FILE = "stream.yaml", "validation.yaml"
"""Files of each seed's data folder: the configurations for the test and the validation split."""
CLUSTERS = "clustering.clusters"
"""Name of the setting for the number of clusters."""
NUM_CLUSTERS = 100
"""Number of k-means clusters for methods without their own; a search for a knee takes a quarter of a run and fails."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark at one size."""

    mixture: Mixture
    """Datasets, skills, redundancy, noise."""
    scale: float
    """Share of the mixture's sizes."""
    budget: int
    """Samples to train on per step."""
    tests_per_skill: int = 200
    """Number of test items per skill."""
    validation_per_skill: int = 50
    """Number of validation items per skill."""
    is_text_only: bool = False
    """Whether the model is only the language model of the base model."""


BENCHMARKS = {
    "mini-liit": Benchmark(mixture=LIIT, scale=1.0, budget=1000),
    "mini-liit-quick": Benchmark(mixture=LIIT, scale=0.4, budget=600),
    "mini-liit-b": Benchmark(mixture=LIIT_B, scale=1.0, budget=1000),
    "mini-liit-b-quick": Benchmark(mixture=LIIT_B, scale=0.4, budget=600),
    "mini-liit-text": Benchmark(mixture=TEXT, scale=0.4, budget=400, is_text_only=True),
}
"""Name on the command line -> benchmark."""


def is_benchmark(name: str) -> bool:
    """Return whether a name, with or without `:validation`, is the name of a benchmark."""
    return name.removesuffix(VALIDATION) in BENCHMARKS


def prepare(
    name: str, folder: Path, seed: int, overrides: Overrides | None = None, *, method: str | None = None
) -> RunConfig:
    """Return the configuration of one seed of a benchmark; its data are written to `folder`/seed-<n> if absent.

    Args:
        name: one of BENCHMARKS; with the suffix `:validation` the validation split replaces the tests.
        folder: parent of the data folders.
        seed: seed of stream, tests and runs; it also determines the base model.
        overrides: as for `configuration.load`.
        method: the selector that is run; NUM_CLUSTERS applies unless the selector has its own number of clusters.

    Raises:
        ConfigError: the benchmark or method does not exist, or an override is wrong.
        StoreError: another process is writing to the folder.
    """
    if not is_benchmark(name):
        raise ConfigError(f"there is no benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name.removesuffix(VALIDATION)]
    data = folder / f"seed-{seed}"
    if not data.exists():
        with lock.held(folder):
            if not data.exists():  # another process may have written it meanwhile
                _write(benchmark, store.begin(data), seed)
                store.complete(data)
    file = data / (VALIDATION_FILE if name.endswith(VALIDATION) else STREAM_FILE)
    config = configuration.load(file, overrides)
    with registry.scope(config.plugins):
        if method is None or auto_settings(method)[CLUSTERS] == "auto":
            return config
    return configuration.load(file, {CLUSTERS: "auto", **configuration.as_settings(overrides)})


def _write(benchmark: Benchmark, folder: Path, seed: int) -> None:
    """Write the data, stream.yaml, and validation.yaml, which evaluates on the validation split."""
    base_path = BASE_PATHS[seed % len(BASE_PATHS)]
    model_path = str(base_path.resolve())
    if benchmark.is_text_only:
        write_language_model(base_path, folder / "base")
        model_path = "base"
    path = write_stream(
        folder,
        mixture=benchmark.mixture,
        scale=benchmark.scale,
        tests_per_skill=benchmark.tests_per_skill,
        validation_per_skill=benchmark.validation_per_skill,
        seed=seed,
        model_path=model_path,
    )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["model"]["lora"] = LORA
    settings["extraction"] = {"dim": VECTOR_DIM}
    settings["clustering"] = {"clusters": NUM_CLUSTERS}
    settings["selection"] = {"budget": benchmark.budget}
    _write_yaml(path, settings)
    for skill in settings["evaluation"]:
        skill["path"] = skill["path"].replace("test/", "validation/")
    _write_yaml(folder / VALIDATION_FILE, settings)


def _write_yaml(path: Path, settings: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
