"""The runs behind the tables of docs/findings.md: mini-liit with many methods, seeds and variants; hours on two cores.

    python -m benchmarks.mini_liit                  # every run that no committed result has, in this order
    python -m benchmarks.mini_liit main variants    # some experiments
    python -m benchmarks.mini_liit main --rows adapt random_replay --seeds 0 1    # some rows and seeds first

Each experiment has one JSON file of records in `results/`, rewritten after every finished run, so the script can be
killed and started again later: it continues with the missing runs. A run that two experiments share is made once.
`python scripts/tables.py` writes the tables of the pages from these files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from adaptinf.compare.variants import ComparisonRow
from adaptinf.demo.benchmark import prepare
from adaptinf.errors import AdaptError
from adaptinf.selection.methods.score_only import SCORERS
from benchmarks.experiments import RESULTS, Experiment, Suite, add_options, method, run_named, variant

MAIN = (
    "random_replay",
    "oracle",
    "adapt_plus",
    "adapt",
    "lite_adapt",
    "sequential",
    "cluster_balanced",
    "semdedup_random",
    "coincide",
    "multitask",
)
"""Rows that run first within each seed, because every claim needs them."""

SINCE = ("visnec", "magic_like", "oasis_like", "mssr_like", "sure_like", "bandit_replay_like")
"""Methods since the paper that need no target set."""

CHOOSING = (5, 6, 7)
"""Seeds for choosing settings on the validation split, one per base model; no table of test results has them."""


VECTORS = [
    variant("gradient-first", extraction__layers="first"),
    variant("gradient-last", extraction__layers="last"),
    variant("gradient-256", extraction__dim=256),
    variant("gradient-8192", extraction__dim=8192),
    variant("fisher", extraction__vector="fisher"),
    variant("zeroth-order", extraction__vector="zeroth_order"),
    variant("hidden-question", extraction__vector="hidden", extraction__vector_tokens="question"),
    variant("hidden-answer", extraction__vector="hidden"),
]
"""Ablation: kind of vector; all else as published."""
CLUSTERS = [variant(f"clusters-{count}", clustering__clusters=count) for count in (10, 30, "auto")]
"""Ablation: number of clusters."""
CHOICES = [
    *(variant(f"fixed-{name}", selection__choose=f"fixed:{name}") for name in SCORERS),
    variant("rank-average", selection__choose="rank_average"),
    variant("random-scorer", selection__choose="random"),
]
"""Ablation: which score decides."""
SAMPLING = [variant(f"sampling-{name}", selection__sampling=name) for name in ("top", "bottom", "random")]
"""Ablation: coverage, compared with largest, smallest and random scores."""
BUDGETS = [variant(f"budgets-{n}", selection__budgets=n) for n in ("root", "proportional", "score_weighted", "density")]
"""Ablation: allocation of the budget."""
PRUNING = [
    ComparisonRow(name="cap-2x", method="adapt", settings={}, cap=1200),
    ComparisonRow(name="cap-8x", method="adapt", settings={}, cap=4800),
    variant("cap-semdedup", "lite_adapt", pruning__order="semdedup"),
    variant("cap-global", "lite_adapt", pruning__allocation="global"),
]
"""Ablation: cap, order and allocation of pruning."""
IMAGES = [variant("grounding-blank", extraction__image="blank")]
"""Ablation: reference of image grounding."""
PLUS = [
    variant("plus-root", "adapt_plus", selection__budgets="root"),
    variant("plus-proportional", "adapt_plus", selection__budgets="proportional"),
    variant("plus-100", "adapt_plus", clustering__clusters=100),
    variant("plus-100-root", "adapt_plus", clustering__clusters=100, selection__budgets="root"),
    variant("plus-600", "adapt_plus", clustering__clusters=600),
    variant("plus-joined-15", "adapt_plus", selection__options__joined=15),
    variant("plus-joined-60", "adapt_plus", selection__options__joined=60),
    variant("plus-apart", "adapt_plus", selection__options__joined=300),
    variant("plus-no-tail", "adapt_plus", selection__options__tail=0.0),
    variant("plus-gradient", "adapt_plus", extraction__vector="gradient"),
    variant("plus-fisher", "adapt_plus", extraction__vector="fisher"),
    variant("plus-question", "adapt_plus", extraction__vector_tokens="question"),
]
"""Ablation: adapt_plus with one part replaced, by the published one or another."""


def refreshed(name: str) -> list[ComparisonRow]:
    """Return a method, and the same with a part of the earlier samples measured again at each step."""
    return [method(name), *(variant(f"{name}-{one}", name, extraction__refresh=one) for one in (0.5, 0.25, "new"))]


SHARES = (0.0, 0.1, 0.3, 0.5, 0.8, None)
"""Shares of earlier datasets; None: the method's own free choice."""


def replayed(base: str, share: float | None) -> ComparisonRow:
    """Return the row of a method with a share of earlier datasets."""
    return method(base) if share is None else variant(f"{base}-{share:g}", base, selection__replay_share=share)


def gated(base: str, max_drop: float) -> ComparisonRow:
    """Return the row of a method whose steps are rolled back where a skill loses more than `max_drop` points."""
    return variant(f"{base}-rollback", base, evaluation_gate__max_drop=max_drop, evaluation_gate__action="rollback")


EXPERIMENTS = {
    "main": Experiment(
        stream="mini-liit-quick",
        seeds=range(5),
        rows=[*map(method, MAIN), *(method(name, cap="auto") for name in ("random_replay", "adapt_plus"))],
    ),
    "b": Experiment(
        stream="mini-liit-b-quick",
        seeds=range(5),
        rows=[*map(method, ("random_replay", "sequential", "adapt", "adapt_plus", "oracle"))],
    ),
    "variants": Experiment(
        stream="mini-liit-quick:validation",
        seeds=CHOOSING,
        rows=[
            *map(method, ("random_replay", "oracle", "adapt", "adapt_plus")),
            *PLUS, *VECTORS, *CLUSTERS, *BUDGETS, *SAMPLING, *CHOICES, *PRUNING, *IMAGES,
        ],
    ),
    "scores": Experiment(
        stream="mini-liit-quick",
        seeds=range(3),
        rows=[
            method("random_replay"),
            method("dbp"),
            *(method(f"{score}_{how}") for score in SCORERS for how in ("top", "middle", "ccs")),
        ],
    ),
    **{
        f"budget-{budget}": Experiment(
            stream="mini-liit-quick",
            seeds=range(3),
            rows=[*map(method, ("random_replay", "adapt", "adapt_plus", "oracle"))],
            settings={"selection.budget": budget},
        )
        for budget in (300, 1200)
    },
    "replay": Experiment(
        stream="mini-liit-quick",
        seeds=range(5),
        rows=[replayed(base, share) for base in ("random_replay", "adapt_plus") for share in SHARES],
    ),
    "gate": Experiment(
        stream="mini-liit-quick",
        seeds=range(5),
        rows=[method("sequential"), gated("sequential", 3.0)],
    ),
    "since": Experiment(
        stream="mini-liit-quick",
        seeds=range(3),
        rows=[*map(method, ("random_replay", "adapt_plus", *SINCE))],
    ),
    "full": Experiment(
        stream="mini-liit",
        seeds=range(3),
        rows=[*map(method, ("random_replay", "adapt", "adapt_plus", "oracle"))],
    ),
    "refresh": Experiment(stream="mini-liit-quick", seeds=range(5), rows=refreshed("adapt_plus")),
    "refresh-adapt": Experiment(stream="mini-liit-quick", seeds=range(3), rows=refreshed("adapt")),
    "text": Experiment(
        stream="mini-liit-text",
        seeds=range(3),
        rows=[*map(method, ("random_replay", "sequential", "adapt", "adapt_plus", "oracle"))],
    ),
}  # fmt: skip
"""Name -> experiment, the most important first."""


def suite() -> Suite:
    """Return the experiments with the places of their results."""
    return Suite(
        prefix="mini-liit",
        experiments=EXPERIMENTS,
        results=RESULTS,
        config_for=lambda experiment, data, seed, overrides, method: prepare(
            experiment.stream, data, seed, overrides, method=method
        ),
    )


def run(
    name: str, out: Path, *, workers: int | None, rows: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> Path:
    """Run what an experiment's result lacks, as `Suite.run`; return the result's path."""
    return suite().run(name, out, workers=workers, rows=rows, seeds=seeds)


def main() -> None:
    """Run the named experiments, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, list(EXPERIMENTS), "runs/mini-liit")
    try:
        run_named(suite(), parser.parse_args(), list(EXPERIMENTS))
    except AdaptError as error:
        print(f"mini_liit: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
