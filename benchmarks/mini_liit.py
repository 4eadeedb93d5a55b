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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptinf.cli.progress import make_progress
from adaptinf.compare import THREADS_PER_RUN, PlannedRun, check_plan, plan, run_planned
from adaptinf.compare.variants import Cap, ComparisonRow
from adaptinf.demo.benchmark import prepare
from adaptinf.models.memory import gpu
from adaptinf.results.recording import record_of
from adaptinf.results.records import RunRecord, read_records, records_text
from adaptinf.runs import Run
from adaptinf.runs.cache import StageCache
from adaptinf.runs.environment import environment
from adaptinf.selection.methods.score_only import SCORERS
from adaptinf.storage import lock, store

RESULTS = Path(__file__).parent / "results"
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

CHOOSING = (5, 6, 7)
"""Seeds for choosing settings on the validation split, one per base model; no table of test results has them."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Rows x seeds on one benchmark."""

    stream: str
    """Name of the benchmark."""
    seeds: Sequence[int]
    """Seeds; each has its own data, and one of the base models."""
    rows: Sequence[ComparisonRow]
    """Rows of the table."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that all rows share: `a.b` -> value."""
    cap: Cap | None = None
    """Cap of all rows; None: only lite_adapt has a cap."""


def method(name: str, cap: Cap | None = None) -> ComparisonRow:
    """Return the row of a method with its default settings."""
    return ComparisonRow(name=name if cap is None else f"{name}_capped", method=name, settings={}, cap=cap)


def variant(name: str, base: str = "adapt", **settings: Any) -> ComparisonRow:
    """Return a row with its own settings; `__` stands for a dot."""
    return ComparisonRow(
        name=name, method=base, settings={key.replace("__", "."): value for key, value in settings.items()}
    )


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


def result_of(name: str) -> Path:
    """Return the path of an experiment's records."""
    return RESULTS / f"mini-liit-{name}.json"


def run(
    name: str, out: Path, *, workers: int | None, rows: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> Path:
    """Run what an experiment's result lacks, limited to `rows` and `seeds` if given; return the result's path."""
    experiment, result, folder = EXPERIMENTS[name], result_of(name), out / name
    recorded = _recorded(name)
    have = {(record.name, record.seed) for record in recorded}
    lacking = [
        (row, seed)
        for seed in experiment.seeds
        for row in experiment.rows
        if (row.name, seed) not in have
        if (rows is None or row.name in rows) and (seeds is None or seed in seeds)
    ]
    if not lacking and result.exists() and len(read_records(result).records) == len(recorded):
        return result
    its_seeds = list(dict.fromkeys(seed for _, seed in lacking))
    planned = [one for one in _planned(experiment, its_seeds, folder) if (one.row, one.seed) in lacking]
    check_plan(planned)
    print(f"{name}: {len(planned)} runs of {len(experiment.seeds) * len(experiment.rows)}", flush=True)
    order = [row.name for row in experiment.rows]
    with lock.held(folder):

        def save() -> None:
            new = [record for one in planned if (record := _record(one, experiment)) is not None]
            text = records_text(environment(threads_per_run=THREADS_PER_RUN, gpu=gpu()), [*recorded, *new], order)
            store.write_text_whole(result, text)

        cache = StageCache(folder / "shared")
        run_planned(planned, progress=make_progress(), num_workers=workers, cache=cache, on_finished=save)
        save()
    return result


def _recorded(name: str) -> list[RunRecord]:
    """Return an experiment's records, and records of the same row on the same stream from other experiments."""
    mine = EXPERIMENTS[name]
    found: dict[tuple[str, int], RunRecord] = {}
    for other, theirs in EXPERIMENTS.items():
        alike = (theirs.stream, theirs.settings, theirs.cap) == (mine.stream, mine.settings, mine.cap)
        path = result_of(other)
        if not (alike and path.exists()):
            continue
        shared = {row.name for row in mine.rows if row in theirs.rows}
        records = [one for one in read_records(path).records if one.name in shared and one.seed in mine.seeds]
        found |= {(record.name, record.seed): record for record in records}
    return list(found.values())


def _planned(experiment: Experiment, seeds: Sequence[int], folder: Path) -> list[PlannedRun]:
    overrides = [f"{key}={value}" for key, value in experiment.settings.items()]
    return plan(
        experiment.rows,
        seeds,
        lambda seed, method: prepare(experiment.stream, folder / "data", seed, overrides, method=method),
        lambda row, seed: folder / row.name / f"seed-{seed}",
        cap=experiment.cap,
    )


def _record(planned: PlannedRun, experiment: Experiment) -> RunRecord | None:
    """Return the record of a finished run; None of an unfinished one."""
    one = Run.open(planned.folder)
    if one.num_finished < len(one.config.stream):
        return None
    return record_of(one, name=planned.row.name, settings=planned.row.changes, stream=experiment.stream)


def main() -> None:
    """Run the named experiments, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(EXPERIMENTS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/mini-liit"), help="folder for data and run folders")
    parser.add_argument("--rows", nargs="+", help="run only these rows; default: all that are missing")
    parser.add_argument("--seeds", nargs="+", type=int, help="run only these seeds")
    parser.add_argument("--workers", type=int, default=None, help="number of parallel runs; default: one per core")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in EXPERIMENTS]
    if unknown:
        sys.exit(f"unknown experiments: {', '.join(unknown)}; known: {', '.join(EXPERIMENTS)}")
    names = args.names or list(EXPERIMENTS)
    for name in names:
        known = [row.name for row in EXPERIMENTS[name].rows]
        if strange := set(args.rows or ()).difference(known):
            sys.exit(f"{name} has no row {', '.join(sorted(strange))}; its rows: {', '.join(known)}")
    for name in names:
        result = run(name, args.out, workers=args.workers, rows=args.rows, seeds=args.seeds)
        print(f"written to {result}", flush=True)


if __name__ == "__main__":
    main()
