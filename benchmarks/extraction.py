"""Extraction compared with the reference's method, a plain forward pass and bergson, on one model and set of samples.

    python -m benchmarks.extraction [--shape cpu-medium] [--cases ours forward] [--rounds 3] [--quick] [--out FOLDER]

bergson is included if it is installed (`pip install --no-deps bergson simple-parsing docstring-parser jaxtyping
wadler-lindig ml_dtypes natsort petname torchopt optree`: it requires torchvision, which is not needed here).
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import RESULTS, Report, num_cores, row_of, significant
from benchmarks.shapes import SHAPES, Shape

REFERENCE_SAMPLES = 32
"""The reference processes one sample at a time, so a few are enough to measure its rate."""
WARM_UP = 48
"""Samples that are measured before timing starts, so that kernels are selected and memory is allocated."""
TRAINING_BATCH, TRAINING_MICRO_BATCH = 16, 4
"""Samples per optimiser step, and samples per forward pass."""
BERGSON_DIM = 24
"""Columns and rows to which bergson projects the gradient of each linear layer."""


def our_way(
    shape: str,
    *,
    vector: Literal["gradient", "hidden"] = "gradient",
    image: Literal["removed", "unmeasured"] = "unmeasured",
    has_vision: bool = True,
    adapted: bool = True,
) -> Work:
    """The whole extraction, from reading images to arrays on disk."""
    from adaptinf.config import ExtractionConfig
    from adaptinf.doctor.cost import peak_operations
    from adaptinf.extraction import extract

    learner, samples, settings = _prepared(shape, has_vision, adapted)
    config = ExtractionConfig(dim=settings.dim, vector=vector, image=image)
    peak, operations = peak_operations(learner), _operations(learner, samples, config)
    extract(samples[:WARM_UP], learner, config, out=Path(tempfile.mkdtemp()))

    def work() -> dict[str, Any]:
        features = extract(samples, learner, config, out=Path(tempfile.mkdtemp()))
        counts = {name: features.info[name] for name in ("padding", "tokens", "tokens_per_batch")}
        return {**counts, "operations": operations, "peak": peak, **_gpu_peak()}

    return work


def _operations(learner: Any, samples: Any, config: Any) -> int:
    """Return the floating-point operations of measuring these samples, without padding."""
    from adaptinf.doctor.cost import cost_of
    from adaptinf.extraction.batches import Preparer
    from adaptinf.extraction.meter import open_meter

    with open_meter(learner, config, seed=0) as ready, Preparer(learner, samples, image=config.image) as preparer:
        cost = cost_of(ready)
        return sum(cost.of(prepared) for prepared in preparer.prepared([row] for row in range(len(samples))))


def forward_only(shape: str, *, has_vision: bool = True, adapted: bool = True) -> Work:
    """The same batches through the model without a graph, and through our head: a lower bound on the cost of scores."""
    learner, samples, _ = _prepared(shape, has_vision, adapted)
    return bare_forward(learner, samples)


def bare_forward(learner: Any, samples: Any) -> Work:
    """Return the work of a forward pass over batches that are prepared here, after one batch for warm-up.

    The fastest method that we know: adapters merged into the weights, no mask, images and text prepared in advance.
    """
    import torch

    from adaptinf.extraction.adapters import cheap_adapters
    from adaptinf.extraction.batches import Preparer
    from adaptinf.extraction.head import head_of
    from adaptinf.extraction.meter import answers_of
    from adaptinf.extraction.plan import make_plan
    from adaptinf.models.lengths import auto_batch_tokens, token_lengths
    from adaptinf.models.masks import without_mask

    plan = make_plan(token_lengths(samples, learner), auto_batch_tokens(learner.device))
    with Preparer(learner, samples, image="unmeasured") as preparer:
        batches = list(preparer.prepared(plan.batches))
    head, seen = head_of(learner), []

    def skip(_: Any, args: Any) -> Any:
        seen.append(args[0])
        return (args[0][:, :0],)

    @torch.no_grad()
    def run(some: list[Any]) -> None:
        hook = head.module.register_forward_pre_hook(skip)
        with cheap_adapters(learner.model):
            for prepared in some:
                batch = prepared.batch.to(learner)
                answers = answers_of(batch)
                learner.model(**without_mask(batch.inputs), use_cache=False)
                head.read(seen.pop()[answers.positions], answers.target_T, None)
        hook.remove()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def work() -> dict[str, Any]:
        run(batches)
        return _gpu_peak()

    run(batches[:1])
    return work


def reference_way(shape: str, *, projects: bool) -> Work:
    """The authors' method, with or without its projection."""
    from benchmarks.reference import Reference

    learner, samples, settings = _prepared(shape, True, True)
    reference = Reference(learner, settings.dim, projects=projects)

    def work() -> dict[str, Any]:
        reference(samples[:REFERENCE_SAMPLES])
        return {"samples": REFERENCE_SAMPLES, **_gpu_peak()}

    return work


def bergson_way(shape: str) -> Work:
    """Bergson on the text-only twin: the seven linear layers of the middle block, with our batches and labels."""
    import torch
    from bergson import GradientProcessor, IndexConfig, collect_gradients
    from datasets import Dataset

    from adaptinf.extraction.plan import make_plan
    from adaptinf.models.chat import encode
    from adaptinf.models.lengths import auto_batch_tokens, token_lengths

    logging.disable(logging.INFO)
    learner, samples, settings = _prepared(shape, False, False)
    rows = [encode(learner, [sample], [[]]) for sample in samples]
    data = Dataset.from_dict(
        {
            "input_ids": [row.inputs["input_ids"][0].tolist() for row in rows],
            "labels": [row.labels[0].tolist() for row in rows],
            "length": [row.labels.shape[1] for row in rows],
        }
    )
    plan = make_plan(token_lengths(samples, learner), auto_batch_tokens(learner.device))
    batches = [list(batch) for batch in plan.batches]
    inside = f"layers.{settings.layers // 2}."
    names = {
        name
        for name, module in learner.model.base_model.named_modules()
        if inside in name and isinstance(module, torch.nn.Linear)
    }
    learner.model.requires_grad_(False)
    learner.model.get_input_embeddings().requires_grad_(True)
    processor = GradientProcessor(projection_dim=BERGSON_DIM)

    def work() -> dict[str, Any]:
        config = IndexConfig(run_path=tempfile.mkdtemp(), projection_dim=BERGSON_DIM, loss_reduction="mean")
        config.partial_run_path.mkdir(parents=True, exist_ok=True)
        collect_gradients(learner.model, data, processor, config, batches=batches, target_modules=names)
        return {"linears": len(names)}

    return work


def training(shape: str) -> Work:
    """Training of the adapter on the same samples for one epoch, without checkpoints."""
    learner, samples, _ = _prepared(shape, True, True)

    def work() -> dict[str, Any]:
        return {"rate": training_rate(learner, samples), **_gpu_peak()}

    return work


def training_rate(learner: Any, samples: Any) -> float:
    """Return the samples per second of the fastest of eight optimiser steps."""
    from adaptinf.config import TrainingConfig
    from adaptinf.training import train

    config = TrainingConfig(batch_size=TRAINING_BATCH, micro_batch_size=TRAINING_MICRO_BATCH, learning_rate=1e-6)
    clock = _Clock()
    train(samples[: 8 * TRAINING_BATCH], learner, config, out=Path(tempfile.mkdtemp()), progress=clock)
    return float(TRAINING_BATCH / min(np.diff(clock.times)))


class _Clock:
    """Progress that only records the time of every optimiser step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def stage(self, title: str, total: int | None, unit: str = "samples") -> Any:
        return nullcontext(self)

    def note(self, text: str) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        self.times.append(time.perf_counter())


def sketch_error(shape: str) -> Work:
    """Root mean square difference of cosines between sketched and exact gradients."""
    from adaptinf.config import ExtractionConfig
    from adaptinf.extraction import extract

    learner, samples, settings = _prepared(shape, True, True)

    def cosines(dim: int) -> np.ndarray:
        config = ExtractionConfig(dim=dim, image="unmeasured")
        vectors = extract(samples, learner, config, out=Path(tempfile.mkdtemp())).vectors.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        products: np.ndarray = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
        return products

    def work() -> dict[str, Any]:
        error = cosines(settings.dim) - cosines(10**9)
        return {"rmse": float(np.sqrt(np.mean(error**2))), "bound": 1.2 / settings.dim**0.5}

    return work


def _prepared(name: str, has_vision: bool, adapted: bool) -> tuple[Any, Any, Shape]:
    import torch
    from transformers.utils import logging as transformers_logging

    from benchmarks import shapes

    torch.set_num_threads(num_cores())
    transformers_logging.set_verbosity_error()
    shape = SHAPES[name]
    return (
        shapes.learner(shape, has_vision=has_vision, adapted=adapted),
        shapes.samples(shape, has_vision=has_vision),
        shape,
    )


def _gpu_peak() -> dict[str, float]:
    import torch

    return {"gpu_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "reference's way": (reference_way, {"projects": True}),
    "reference's way, no projection": (reference_way, {"projects": False}),
    "forward only, our head": (forward_only, {}),
    "ours, without image grounding": (our_way, {}),
    "ours, with image grounding": (our_way, {"image": "removed"}),
    "ours, answer states (adapt_plus)": (our_way, {"vector": "hidden"}),
    "training": (training, {}),
    "twin: forward only, our head": (forward_only, {"has_vision": False, "adapted": False}),
    "twin: ours": (our_way, {"has_vision": False, "adapted": False}),
    "twin: bergson": (bergson_way, {}),
    "sketch": (sketch_error, {}),
}
"""Name -> case to measure, with its arguments."""
ONCE = (reference_way, bergson_way, training, sketch_error)
"""Cases that are not repeated in one process."""
RATIOS = (
    ("reference's way / ours, everything", "reference's way", "ours, with image grounding", ">= 3"),
    ("the same without its projection", "reference's way, no projection", "ours, with image grounding", ">= 1.5"),
    (
        "ours without image grounding / forward only",
        "ours, without image grounding",
        "forward only, our head",
        "<= 1.55",
    ),
    ("answer states / forward only", "ours, answer states (adapt_plus)", "forward only, our head", "none"),
    ("ours, everything / training on the same", "ours, with image grounding", "training", "about 1"),
    ("answer states / training on the same", "ours, answer states (adapt_plus)", "training", "none"),
    ("bergson / ours on the text-only twin", "twin: bergson", "twin: ours", ">= 2"),
)
"""Ratios of times in the result: description, first case, second case, target of first over second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="cpu-medium")
    parser.add_argument("--cases", nargs="+", default=[""], help="run only cases whose names begin with one of these")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds over all cases; the fastest counts")
    parser.add_argument(
        "--repeats", type=int, default=2, help="repeats per case and process; the slowest cases have one"
    )
    parser.add_argument("--quick", action="store_true", help="the shape `tiny`, one round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    arguments = parser.parse_args()
    name_of_shape, rounds = ("tiny", 1) if arguments.quick else (arguments.shape, arguments.rounds)
    shape = SHAPES[name_of_shape]
    chosen = [name for name in CASES if name.startswith(tuple(arguments.cases))]
    if not importlib.util.find_spec("bergson"):
        chosen = [name for name in chosen if name != "twin: bergson"]
    if not chosen:
        parser.error(f"no case that can run begins with {' or '.join(arguments.cases)}; there are: {', '.join(CASES)}")

    report = Report("extraction", f"Extraction, shape {name_of_shape}", ["torch", "transformers", "peft"])
    report.text(f"{shape}\n")
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name in chosen:
            case, options = CASES[name]
            repeats = 1 if case in ONCE else arguments.repeats
            measured = measure(case, repeats=repeats, shape=name_of_shape, **options)
            # Printed at once: cases take minutes, and if one fails, the results of the others are on the screen.
            print(f"{name}: {measured.all_seconds} s, {dict(measured.figures)}", flush=True)
            best[name] = min(best.get(name, measured), measured, key=lambda one: one.seconds)
    sketch = best.pop("sketch", None)
    rates = {name: _rate(one, shape) for name, one in best.items()}
    report.table(
        [row_of(name, one) | {"samples/s": significant(rates[name])} | _of_device(one) for name, one in best.items()]
    )
    figures = [
        (what, significant(rates[fast] / rates[slow]), aim)
        for what, slow, fast, aim in RATIOS
        if slow in rates and fast in rates
    ]
    if sketch is not None:
        error = sketch.figures
        figures.append(("cosine RMSE of the sketch", f"{error['rmse']:.5f}", f"<= {error['bound']:.5f}"))
    if figures:
        report.table([dict(zip(("figure", "value", "target"), line, strict=True)) for line in figures])
    report.write(arguments.out)


def _rate(measured: Measured, shape: Shape) -> float:
    """Return samples per second."""
    figures = measured.figures
    return float(figures.get("rate", figures.get("samples", shape.num_samples) / measured.seconds))


def _of_device(measured: Measured) -> dict[str, str]:
    """Return the device figures of a case: share of the peak operations, tokens per batch, memory."""
    figures, shown = measured.figures, {"% of peak": "", "tokens per batch": "", "GPU memory, GB": ""}
    if "peak" in figures:
        shown["% of peak"] = f"{100 * figures['operations'] / measured.seconds / figures['peak']:.0f}"
        shown["tokens per batch"] = f"{figures['tokens_per_batch']:,}"
    if "gpu_gb" in figures:
        shown["GPU memory, GB"] = f"{figures['gpu_gb']:.0f}"
    return shown


if __name__ == "__main__":
    main()
