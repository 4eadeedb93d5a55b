"""Extraction against the reference's way, a bare forward pass, and bergson: one model, one set of samples, one run.

    python -m benchmarks.extraction [--shape cpu-medium] [--rounds 3] [--quick] [--out FOLDER]

bergson is compared where it is installed (`pip install --no-deps bergson simple-parsing docstring-parser jaxtyping
wadler-lindig ml_dtypes natsort petname torchopt optree`: it asks for torchvision, which it does not need here).
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import RESULTS, Report, num_cores, row_of, significant
from benchmarks.shapes import SHAPES, Shape

REFERENCE_SAMPLES = 32
"""The reference takes one sample after the other, so a few tell its rate."""
BERGSON_DIM = 24
"""Columns and rows that bergson projects each linear layer's gradient to."""


def our_way(
    shape: str,
    *,
    vector: Literal["gradient", "hidden"] = "gradient",
    image: Literal["removed", "unmeasured"] = "unmeasured",
    sees: bool = True,
    adapted: bool = True,
) -> Work:
    """Everything that extraction gives, from reading pictures to arrays on disk."""
    from adaptinf.config import ExtractionConfig
    from adaptinf.extraction import extract

    learner, samples, settings = _prepared(shape, sees, adapted)
    config = ExtractionConfig(dim=settings.dim, vector=vector, image=image)

    def work() -> dict[str, Any]:
        features = extract(samples, learner, config, out=Path(tempfile.mkdtemp()))
        return {"padding": features.info["padding"], "tokens": features.info["tokens"], **_gpu_peak()}

    return work


def forward_only(shape: str, *, sees: bool = True, adapted: bool = True) -> Work:
    """The same batches through the model without a graph, and through our head: the least that scores cost.

    The fastest way we know: adapters inside the weights, no mask; pictures and text are ready before.
    """
    import torch

    from adaptinf.extraction.head import head_of
    from adaptinf.extraction.measuring import answers_of
    from adaptinf.extraction.merging import merged
    from adaptinf.extraction.planning import make_plan
    from adaptinf.extraction.preparing import Preparer
    from adaptinf.extraction.sparing import without_mask
    from adaptinf.models.lengths import auto_batch_tokens, token_lengths

    learner, samples, _ = _prepared(shape, sees, adapted)
    plan = make_plan(token_lengths(samples, learner), auto_batch_tokens(learner.device))
    with Preparer(learner, samples, image="unmeasured") as preparer:
        batches = list(preparer.prepared(batch for shard in plan.shards for batch in shard.batches))
    head, seen = head_of(learner), []

    def skip(_: Any, args: Any) -> Any:
        seen.append(args[0])
        return (args[0][:, :0],)

    @torch.no_grad()
    def work() -> dict[str, Any]:
        hook = head.module.register_forward_pre_hook(skip)
        with merged(learner.model):
            for prepared in batches:
                assert prepared.batch is not None
                batch = prepared.batch.to(learner)
                answers = answers_of(batch)
                learner.model(**without_mask(batch.inputs), use_cache=False)
                head.read(seen.pop()[answers.positions], answers.target_T, None)
        hook.remove()
        return _gpu_peak()

    return work


def reference_way(shape: str, *, projects: bool) -> Work:
    """The authors' way, with or without its projection."""
    from benchmarks.reference import Reference

    learner, samples, settings = _prepared(shape, True, True)
    reference = Reference(learner, settings.dim, projects=projects)

    def work() -> dict[str, Any]:
        reference(samples[:REFERENCE_SAMPLES])
        return {"samples": REFERENCE_SAMPLES, **_gpu_peak()}

    return work


def bergson_way(shape: str) -> Work:
    """Bergson on the text-only twin: the seven linears of the middle block, the same batches and labels as ours."""
    import torch
    from bergson import GradientProcessor, IndexConfig, collect_gradients
    from datasets import Dataset

    from adaptinf.extraction.planning import make_plan
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
    batches = [list(batch) for shard in plan.shards for batch in shard.batches]
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


def _prepared(name: str, sees: bool, adapted: bool) -> tuple[Any, Any, Shape]:
    import torch
    from transformers.utils import logging as transformers_logging

    from benchmarks import shapes

    torch.set_num_threads(num_cores())
    transformers_logging.set_verbosity_error()
    shape = SHAPES[name]
    return shapes.learner(shape, sees=sees, adapted=adapted), shapes.samples(shape, sees=sees), shape


def _gpu_peak() -> dict[str, float]:
    import torch

    return {"gpu_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="cpu-medium")
    parser.add_argument("--rounds", type=int, default=3, help="every case this many times, in turn; the fastest counts")
    parser.add_argument("--quick", action="store_true", help="the shape `tiny`, one round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    arguments = parser.parse_args()
    name_of_shape, rounds = ("tiny", 1) if arguments.quick else (arguments.shape, arguments.rounds)
    shape = SHAPES[name_of_shape]

    report = Report("extraction", f"Extraction, shape {name_of_shape}", ["torch", "transformers", "peft"])
    report.text(f"{shape}\n")
    cases: dict[str, tuple[Any, dict[str, Any]]] = {
        "reference's way": (reference_way, {"projects": True}),
        "reference's way, no projection": (reference_way, {"projects": False}),
        "forward only, our head": (forward_only, {}),
        "ours, without image grounding": (our_way, {}),
        "ours, with image grounding": (our_way, {"image": "removed"}),
        "ours, answer states (adapt_plus)": (our_way, {"vector": "hidden"}),
        "twin: forward only, our head": (forward_only, {"sees": False, "adapted": False}),
        "twin: ours": (our_way, {"sees": False, "adapted": False}),
    }
    if importlib.util.find_spec("bergson"):
        cases["twin: bergson"] = (bergson_way, {})
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name, (case, options) in cases.items():
            repeats = 1 if case in (reference_way, bergson_way) else 2
            measured = measure(case, repeats=repeats, shape=name_of_shape, **options)
            best[name] = min(best.get(name, measured), measured, key=lambda one: one.seconds)
    rates = {name: one.figures.get("samples", shape.num_samples) / one.seconds for name, one in best.items()}
    report.table([row_of(name, one) | {"samples/s": significant(rates[name])} for name, one in best.items()])

    def ratio(slow: str, fast: str) -> str:
        return significant(rates[fast] / rates[slow]) if slow in rates else "not installed"

    whole, plain = "ours, with image grounding", "ours, without image grounding"
    error = measure(sketch_error, shape=name_of_shape).figures
    figures = [
        ("reference's way / ours, everything", ratio("reference's way", whole), ">= 3"),
        ("the same without its projection", ratio("reference's way, no projection", whole), ">= 1.5"),
        ("ours without image grounding / forward only", ratio(plain, "forward only, our head"), "<= 1.55"),
        ("answer states / forward only", ratio("ours, answer states (adapt_plus)", "forward only, our head"), "none"),
        ("bergson / ours on the text-only twin", ratio("twin: bergson", "twin: ours"), ">= 2"),
        ("cosine RMSE of the sketch", f"{error['rmse']:.5f}", f"<= {error['bound']:.5f}"),
    ]
    report.table([dict(zip(("figure", "value", "target"), line, strict=True)) for line in figures])
    report.write(arguments.out)


if __name__ == "__main__":
    main()
