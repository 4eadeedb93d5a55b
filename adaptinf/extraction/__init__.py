"""Extraction: one vector, one embedding and all scores for every sample, from the model as it is now."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from adaptinf.config import ExtractionConfig
from adaptinf.data import Features, HasIds, Sample
from adaptinf.errors import DataError
from adaptinf.executors import Executor, LocalExecutor, Workers, named_losses, num_workers, watched
from adaptinf.extraction.cuts import Cutter, Shard, left_over
from adaptinf.extraction.plan import Plan
from adaptinf.extraction.shards import (
    COMPILED,
    MAKER_FILE,
    PLAN_FILE,
    SHARDS,
    ShardFile,
    ShardSummary,
    assemble,
    counts,
    finished_shards,
    read_summary,
    unusable,
)
from adaptinf.extraction.work import ExtractionWork, Extractor, ShardReport
from adaptinf.models.loading import Learner
from adaptinf.models.recipe import LearnerRecipe, check_can_travel
from adaptinf.models.refusals import InARow, check_share
from adaptinf.progress import Bar, Progress, Silent, in_one
from adaptinf.storage import store, tables
from adaptinf.words import counted


def extract(
    samples: Sequence[Sample],
    learner: Learner | LearnerRecipe,
    config: ExtractionConfig,
    *,
    out: Path,
    executor: Executor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    pool_size: int | None = None,
    known_refused: Collection[str] = (),
) -> Features:
    """Measure every sample with the model as it is now, and leave the features in the folder `out`.

    Finished shards found in `out` are kept, so a run that was killed continues; a finished `out` is loaded. A sample
    without an answer token, or with an image that cannot be opened any more, is unscored: NaN scores, a zero vector,
    counted in `info`.

    Args:
        samples: any sequence; rows come out in this order. Ids must be unique.
        learner: the model, loaded or as a recipe, which other processes need; with an adapter its gradients are taken,
            without one those of a virtual adapter.
        config: what to measure; see docs/extraction.md.
        out: folder for shards and arrays; made if missing.
        executor: where shards are worked on; None: this process.
        seed: of the sketch, of the directions of `zeroth_order` and of virtual adapters.
        progress: where to report.
        pool_size: rows of the pool that `samples` are a part of, which too many refused ones are a share of; None: all.
        known_refused: ids that were refused before, so that they are no reason to stop now.

    Returns:
        Features with N rows; `vectors` N x dim float16 of unit norm, `embeddings` N x H float16, memory-mapped.

    Raises:
        DataError: two samples share an id.
        ModelError: the model, its adapter or its chat template is not fit for what the settings ask; or it is loaded,
            and the executor works in other processes.
        StoreError: `out` holds features or shards of another model, adapter or setting, or a damaged shard.
    """
    ids = _unique_ids(samples)
    executor, progress = executor or LocalExecutor(), progress or Silent()
    if not executor.is_in_process:
        check_can_travel(learner, executor)
    limits = _Limits(pool_size or len(ids), frozenset(known_refused))
    work = ExtractionWork(
        samples=samples,
        learner=learner,
        config=config,
        seed=seed,
        folder=out / SHARDS,
        num_threads=torch.get_num_threads(),
    )
    with ExitStack() as stack:
        with in_one(progress, "load the model", 1, "models"):
            workers = stack.enter_context(executor.open(work))
            (facts,) = workers.map(Extractor.describe, [f"{len(ids)} rows, {tables.digest(ids)}"])
        if _is_finished(out):
            store.check_maker(out / store.INFO, _decisive(facts.maker))
            return Features.load(out)
        plan = _planned(workers, facts.maker, work.folder, progress)
        files, summaries = _measured(workers, plan, work, facts.row_bytes, progress, limits)
    begun = tables.read_json(work.folder / MAKER_FILE)
    info = {
        **facts.maker,
        "batch_tokens": begun["batch_tokens"],
        COMPILED: bool(begun.get(COMPILED)),
        "tokens_per_batch": plan.batch_tokens,
        **counts(summaries),
    }
    features = assemble(ids, files, facts.maker["dim"], out, info, unusable(ids, summaries))
    features.save(out)
    # Last, so that a kill before the features are complete leaves the shards to continue from.
    store.discard(out / SHARDS)
    return features


class _Limits(NamedTuple):
    """What too many refused samples are measured against."""

    pool_size: int
    """Samples of which they are a share."""
    known_refused: frozenset[str]
    """Ids that do not count, as they were refused before."""


def _unique_ids(samples: Sequence[Sample]) -> np.ndarray:
    ids = samples.ids if isinstance(samples, HasIds) else tables.text_array([sample.id for sample in samples])
    repeated = [id for id, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"{counted(len(repeated), 'id')} used by several samples, e.g. {repeated[0]!r}; give each sample its own"
        )
    return ids


def _is_finished(out: Path) -> bool:
    """Return whether an extraction was completed here: info.json is written before the shards are deleted."""
    for left in (store.discarded(out / SHARDS), store.part_of(out / SHARDS)):  # the latter by earlier versions
        shutil.rmtree(left, ignore_errors=True)
    return (out / store.INFO).exists() and not (out / SHARDS).exists()


def _decisive(maker: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that must agree: where the model lies means nothing, and batches of another size rounding."""
    return {name: value for name, value in maker.items() if name not in ("batch_tokens", "model")}


def _planned(workers: Workers[Extractor], maker: dict[str, Any], folder: Path, progress: Progress) -> Plan:
    """Return the plan in the shards' folder; made and saved first if there is none yet.

    An extraction that has begun keeps its plan, and with it the size of its batches.

    Raises:
        StoreError: the folder's shards were made with another model, adapter or setting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MAKER_FILE).exists():
        store.check_maker(folder / MAKER_FILE, _decisive(maker))
        begun = tables.read_json(folder / MAKER_FILE)["batch_tokens"]
        if begun != maker["batch_tokens"]:
            progress.note(
                f"extraction began with extraction.batch_tokens={begun} and ends with it; "
                f"{maker['batch_tokens']} holds from the next step on"
            )
    else:
        for line in workers.map(Extractor.plan, [maker]):
            if line is not None:
                progress.note(line)
    return Plan.load(folder / PLAN_FILE)


def _reports(
    workers: Workers[Extractor], shards: Iterator[Shard], samples: Sequence[Sample], bar: Bar
) -> Iterator[ShardReport]:
    """Yield the report of each measured shard.

    Raises:
        StoreError: a shard ended every worker that was given it; its samples are named.
    """
    with named_losses(lambda shard: [samples[row].id for batch in shard.batches for row in batch]):
        yield from watched(workers, Extractor.measure, shards, bar)


def _measured(
    workers: Workers[Extractor],
    plan: Plan,
    work: ExtractionWork,
    row_bytes: int,
    progress: Progress,
    limits: _Limits,
) -> tuple[list[ShardFile], list[ShardSummary]]:
    """Measure the batches of which there is no shard yet; return all shards and their summaries."""
    files = finished_shards(work.folder, plan)
    summaries = [read_summary(file) for file in files]
    left = left_over(len(plan.batches), [file.batches for file in files])
    if files and left and plan.num_threads not in (None, work.num_threads):
        progress.note(
            f"extraction began with {counted(plan.num_threads, 'thread')} and continues with {work.num_threads}: "
            "the last bits of some vectors and scores may differ from those of a run that was not interrupted"
        )
    refused = {
        name: reason
        for summary in summaries
        for name, reason in summary.refused.items()
        if name not in limits.known_refused
    }
    in_a_row = InARow("extraction")
    cutter = Cutter(batches=plan.batches, row_bytes=row_bytes, num_workers=num_workers(workers))
    with progress.stage("extract", len(work.samples)) as bar:
        bar.advance(sum(summary.num_rows for summary in summaries))
        for report in _reports(workers, cutter.shards(left), work.samples, bar):
            cutter.learn(len(report.file.batches), report.seconds)
            bar.advance(report.summary.num_rows)
            files.append(report.file)
            summaries.append(report.summary)
            new = {name: why for name, why in report.summary.refused.items() if name not in limits.known_refused}
            refused |= new
            in_a_row.add(new, report.summary.num_rows - len(report.summary.refused))
            check_share(refused, limits.pool_size, "extraction")
    return files, summaries
