"""The command `clusters`: which samples, which model, which rows; `clusters` measures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from adaptinf import config as configuration
from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.demo.benchmark import VALIDATION, prepare
from adaptinf.errors import ConfigError
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_at_start, learner_before
from benchmarks.real_text.clusters import LAYERS, add_rows, described, follow
from benchmarks.real_text.lengths import short_items, tokens_of
from benchmarks.real_text.model import make_model
from benchmarks.real_text.prompts import CONDITIONS, Draw, benchmark_draw, real_draw, shares_of
from benchmarks.real_text.splits import split_tasks
from benchmarks.real_text.stream import SIZES
from benchmarks.real_text.tasks import read_tasks

KINDS = ("hidden", "gradient", "fisher")
NUM_SAMPLES = 320
BENCHMARK = "mini-liit-quick"
"""The other source of samples: its validation items, with the tiny models that see."""
IN_STREAM = "many wordings"
"""How a benchmark's own items are asked for."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--benchmark", action="store_true", help=f"items and model of {BENCHMARK} in place of --tasks")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS), help="ways of asking")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of vector")
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS), help="blocks of gradients, fisher")
    parser.add_argument("--dtype", default="float32", help="of the model, not of a run's or a benchmark's")
    parser.add_argument("--samples", type=int, default=NUM_SAMPLES, help="samples, about")
    parser.add_argument("--seed", type=int, default=5, help=f"seed of {BENCHMARK}; one that no table of tests has")
    parser.add_argument("--run", type=Path, help="run folder whose model measures, after --steps; default: the base")
    parser.add_argument(
        "--steps", nargs="+", type=int, default=[0], help="steps of --run that its model has been through"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/real-text/clusters"), help="folder for data")


def run(args: argparse.Namespace) -> None:
    """Measure, and add the rows to the result of their source."""
    torch.set_num_threads(1)
    name = BENCHMARK if args.benchmark else "real-text"
    path = args.results / f"clusters-{name}.json"
    draws = dict(_draws(args))
    for label, recipe in _recipes(args):
        learner = recipe.make()
        for condition, draw in draws.items():
            print(f"{name}, {condition}, {label}: {described(draw)}", flush=True)
            rows = follow(learner, draw, args.kinds, args.layers, lambda line: print(f"  {line}", flush=True))
            about = {
                "data": name,
                "condition": condition,
                "model": label,
                "dtype": str(learner.model.dtype),
                **described(draw),
            }
            add_rows(path, rows, **about)
    print(f"written to {path}")


def _draws(args: argparse.Namespace) -> Iterator[tuple[str, Draw]]:
    """Yield the samples of each way of asking."""
    if args.benchmark:
        config = prepare(f"{BENCHMARK}{VALIDATION}", args.out, args.seed)
        yield IN_STREAM, benchmark_draw(config, shares_of(args.out / f"seed-{args.seed}", config), args.samples)
        return
    if args.tasks is None:
        raise ConfigError("--tasks is missing: a folder with tasks (docs/real-text.md says where from), or --benchmark")
    make_model(args.model, args.package)
    size = SIZES["small"]
    splits = split_tasks(
        read_tasks(args.tasks),
        short_items(tokens_of(args.model)),
        num_tests=size.num_tests,
        num_validation=size.num_validation,
    )
    for condition in args.conditions:
        yield condition, real_draw(splits, args.samples, condition)


def _recipes(args: argparse.Namespace) -> Iterator[tuple[str, LearnerRecipe]]:
    """Yield each model that measures with its name: the base, or that of a run after some of its steps."""
    if args.run is not None:
        opened = Run.open(args.run)
        for step in args.steps:
            if not 0 <= step <= opened.num_finished:
                raise ConfigError(
                    f"--steps {step}: {args.run} has finished {opened.num_finished} steps; name one of 0 to that"
                )
            yield ("base" if step == 0 else f"after step {step}"), learner_before(opened, step)
        return
    if args.benchmark:
        config = prepare(f"{BENCHMARK}{VALIDATION}", args.out, args.seed)
        yield "base", learner_at_start(config, 0)
        return
    lora = LoraConfig(rank=16, alpha=32)
    model = ModelConfig(path=str(args.model.resolve()), dtype=args.dtype, max_length=512, lora=lora)
    yield "base", learner_at_start(configuration.RunConfig(model=model), 0)
