"""mini-liit: small lifelong benchmarks that the package makes itself, so that a comparison is one command.

    adaptinf compare mini-liit-quick --methods adapt_plus,random_replay,oracle --seeds 0,1,2

Each seed has a stream, tests and order of its own, and one of the base models in turn: so intervals over seeds cover
what a claim must not depend on. docs/mini-liit.md has the design, which was fixed before methods were compared on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.demo.language_model import write_language_model
from adaptinf.demo.mixture import LIIT, LIIT_B, TEXT, Mixture
from adaptinf.demo.stream import BASE_PATHS, LORA, VECTOR_DIM, write_stream
from adaptinf.errors import ConfigError
from adaptinf.selection import wishes
from adaptinf.storage import store

VALIDATION = ":validation"
"""Behind a benchmark's name: its validation split is tested, on which choices may be made."""
STREAM_FILE, VALIDATION_FILE = "stream.yaml", "validation.yaml"
"""In each seed's data folder."""
CLUSTERS = "clustering.clusters"
"""The setting."""
NUM_CLUSTERS = 100
"""Of k-means, for methods without a number of their own; a knee would take a quarter of a run, and there is none."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark at one size."""

    mixture: Mixture
    """Datasets, skills, redundancy, noise."""
    scale: float
    """Share of the mixture's sizes."""
    budget: int
    """Samples trained on in one step."""
    tests_per_skill: int = 200
    """Test items of each skill."""
    validation_per_skill: int = 50
    """Validation items of each skill."""
    is_text_only: bool = False
    """Whether the model is the base's language model alone."""


BENCHMARKS = {
    "mini-liit": Benchmark(mixture=LIIT, scale=1.0, budget=1000),
    "mini-liit-quick": Benchmark(mixture=LIIT, scale=0.4, budget=600),
    "mini-liit-b": Benchmark(mixture=LIIT_B, scale=1.0, budget=1000),
    "mini-liit-b-quick": Benchmark(mixture=LIIT_B, scale=0.4, budget=600),
    "mini-liit-text": Benchmark(mixture=TEXT, scale=0.4, budget=400, is_text_only=True),
}
"""Name on the command line -> benchmark."""


def is_benchmark(name: str) -> bool:
    """Tell whether a name, with or without `:validation`, is a benchmark's."""
    return name.removesuffix(VALIDATION) in BENCHMARKS


def prepare(
    name: str, folder: Path, seed: int, overrides: Sequence[str] = (), *, method: str | None = None
) -> RunConfig:
    """Return the configuration of one seed of a benchmark, its data written to `folder`/seed-<n> if they are not there.

    Args:
        name: one of BENCHMARKS; with `:validation` behind it the validation split takes the place of the tests.
        folder: where data go.
        seed: of stream, tests and runs; also decides the base model.
        overrides: `a.b=1`, as for `configuration.load`.
        method: the selector it is for; one that has a number of clusters of its own has that, all others NUM_CLUSTERS.

    Raises:
        ConfigError: no such benchmark or method, or an override is wrong.
        StoreError: another process is writing data there.
    """
    if not is_benchmark(name):
        raise ConfigError(f"no benchmark is called {name!r}; known: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name.removesuffix(VALIDATION)]
    data = folder / f"seed-{seed}"
    if not data.exists():
        with store.lock(folder):
            part = store.begin(data)
            _write(benchmark, part, seed)
            store.finish(data)
    file = data / (VALIDATION_FILE if name.endswith(VALIDATION) else STREAM_FILE)
    config = configuration.load(file, overrides)
    with registry.scope(config.plugins):
        if method is None or wishes(method)[CLUSTERS] == "auto":
            return config
    return configuration.load(file, [f"{CLUSTERS}=auto", *overrides])


def _write(benchmark: Benchmark, folder: Path, seed: int) -> None:
    """Write the data, stream.yaml, and a twin of it that tests the validation split."""
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
