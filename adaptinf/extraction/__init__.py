"""Extraction: one vector, one embedding and all scores for every sample, from the model as it is now."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import adaptinf
from adaptinf import registry
from adaptinf.config import ExtractionConfig
from adaptinf.data import Features, Sample
from adaptinf.errors import DataError
from adaptinf.executors import Executor, LocalExecutor
from adaptinf.extraction.batch_size import tokens_per_batch
from adaptinf.extraction.meter import Meter, meter
from adaptinf.extraction.plan import Plan, make_plan
from adaptinf.extraction.shards import SHARDS, ShardWorker, assemble, counts
from adaptinf.models.lengths import token_lengths
from adaptinf.models.loading import Learner
from adaptinf.progress import Progress, Silent
from adaptinf.storage import store, tables


def extract(
    samples: Sequence[Sample],
    learner: Learner,
    config: ExtractionConfig,
    *,
    out: Path,
    executor: Executor | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Measure every sample with the model as it is now, and leave the features in the folder `out`.

    Finished shards found in `out` are kept, so a run that was killed goes on; a finished `out` is loaded. A sample
    without an answer token, or with an image that cannot be opened any more, is unscored: NaN scores, a zero vector,
    counted in `info`.

    Args:
        samples: any sequence; rows come out in this order. Ids must be unique.
        learner: the model; with an adapter its gradients are taken, without one those of a virtual adapter.
        config: what to measure; see docs/extraction.md.
        out: folder for shards and arrays; made if missing.
        executor: where shards are worked on; None: this process.
        seed: of the sketch, of probes and of virtual adapters.
        progress: where to report.

    Returns:
        Features with N rows; `vectors` N x dim float16 of unit norm, `embeddings` N x H float16, memory-mapped.

    Raises:
        DataError: two samples share an id.
        ModelError: the model, its adapter or its chat template is not fit for what the settings ask.
        StoreError: `out` holds features or shards of another model, adapter or setting, or a damaged shard.
    """
    ids = tables.text_array([sample.id for sample in samples])
    if len(set(ids)) < len(ids):
        raise DataError(f"{len(ids) - len(set(ids))} samples share an id with another; ids must be unique")
    with meter(learner, config, seed=seed) as ready:
        maker = _maker(ready, ids, seed)
        if _is_finished(out):
            store.check_maker(out / store.INFO, maker)
            return Features.load(out)
        plan = _planned(samples, ready, maker, out / SHARDS)
        summaries = []
        with (
            (progress or Silent()).stage("extract", len(samples)) as bar,
            ShardWorker(ready, samples, out / SHARDS) as work,
        ):
            for summary in (executor or LocalExecutor()).map(work, plan.shards):
                summaries.append(summary)
                bar.advance(summary.num_rows)
    info = {**maker, "tokens_per_batch": plan.batch_tokens, **counts(summaries)}
    features = assemble(ids, plan.shards, ready.dim, out, info)
    features.save(out)
    # Last: as long as they are there, whatever is killed goes on from them.
    store.discard(out / SHARDS)
    return features


def _is_finished(out: Path) -> bool:
    """Tell whether an extraction ended here: it writes info.json, and only then do the shards go."""
    shutil.rmtree(store.part_of(out / SHARDS), ignore_errors=True)
    return (out / store.INFO).exists() and not (out / SHARDS).exists()


def _planned(samples: Sequence[Sample], ready: Meter, maker: dict[str, Any], folder: Path) -> Plan:
    """Return the plan in the shards' folder; made and saved first if there is none yet.

    Raises:
        StoreError: the folder's shards were made with another model, adapter or setting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.parquet"
    if (folder / "maker.json").exists():
        store.check_maker(folder / "maker.json", maker)
        return Plan.load(path)
    lengths = token_lengths(samples, ready.learner)
    plan = make_plan(lengths, tokens_per_batch(ready, samples, lengths))
    plan.save(path)
    # After the plan: where it says who makes the shards, the plan is whole.
    store.write_json_whole(folder / "maker.json", maker)
    return plan


def _maker(ready: Meter, ids: np.ndarray, seed: int) -> dict[str, Any]:
    """Return who makes these features: what must agree for shards to belong together."""
    learner, config = ready.learner, ready.config
    adapter = learner.adapter_fingerprint
    return {
        "model": learner.config.path,
        "fingerprint": learner.fingerprint,
        "adapter": "virtual" if adapter is None else "real",
        "adapter_fingerprint": adapter,
        "lora": learner.config.lora.model_dump(),
        "max_length": learner.config.max_length,
        "model_dtype": str(learner.model.dtype).removeprefix("torch."),
        **config.model_dump(exclude={"model", "keep", "batch_tokens", "dim"}),
        "batch_tokens": config.batch_tokens,
        "dim": ready.dim,
        "scorers": registry.scorer.names(),
        "seed": seed,
        "code": adaptinf.__version__,
        "ids": f"{len(ids)} rows, {tables.digest(ids)}",
    }
