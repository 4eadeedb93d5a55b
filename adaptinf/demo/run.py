"""`adaptinf demo`: a comparison of methods on the small stream, with the code that runs on any data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.compare import plan, run_planned, same_config
from adaptinf.compare.variants import ComparisonRow
from adaptinf.demo.mixture import LIIT
from adaptinf.demo.stream import DEMO_SCALE, DEMO_TESTS_PER_SKILL, LORA, VECTOR_DIM, write_stream
from adaptinf.progress import Progress, Silent, in_one
from adaptinf.runs import Run
from adaptinf.storage import store


def run_demo(
    out: Path, *, methods: Sequence[str], seed: int, progress: Progress, num_steps: int | None = None
) -> list[Run]:
    """Write the stream to `out`/data if absent, run every method on it, and return the runs.

    Raises:
        ConfigError: a method is unknown, or `out` holds a demo with other settings.
    """
    for method in methods:
        _ = registry.selector[method]
    stream = demo_data(out / "data", seed, progress)
    config = configuration.load(stream)
    changes = {
        "model": config.model.model_copy(update={"lora": configuration.LoraConfig.model_validate(LORA)}),
        "extraction": config.extraction.model_copy(update={"dim": VECTOR_DIM}),
    }
    rows = [ComparisonRow(name=method, method=method, settings={}) for method in dict.fromkeys(methods)]
    config_of = same_config(config.model_copy(update=changes))
    planned = plan(rows, [seed], config_of, lambda row, _: out / row.name)
    return run_planned(planned, progress=progress, num_steps=num_steps)


def demo_data(folder: Path, seed: int, progress: Progress | None = None) -> Path:
    """Return the path of stream.yaml in `folder`; the stream is written first if the folder does not exist."""
    if not folder.exists():
        part = store.begin(folder)
        with in_one(progress or Silent(), "make the data", len(LIIT.sizes), "datasets"):
            write_stream(part, scale=DEMO_SCALE, tests_per_skill=DEMO_TESTS_PER_SKILL, seed=seed)
        store.complete(folder)
    return folder / "stream.yaml"
