"""Extraction: one vector, one embedding and all scores for every sample, from the model as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import adaptinf
from adaptinf import registry, store, tables
from adaptinf.config import ExtractionConfig
from adaptinf.data import Features, Sample
from adaptinf.errors import DataError, StoreError
from adaptinf.executors import Executor, LocalExecutor
from adaptinf.extraction.batches import plan_shards
from adaptinf.extraction.measuring import Meter, meter
from adaptinf.extraction.shards import assemble, counts, measure_shard
from adaptinf.models.lengths import auto_batch_tokens, token_lengths
from adaptinf.models.loading import Learner
from adaptinf.progress import Progress, Silent


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
    """Measure every sample with the model as it is now, and leave the arrays in the folder `out`.

    Finished shards found in `out` are kept, so a run that was killed goes on. A sample without an answer token, or
    with a picture that cannot be opened any more, is unscored: NaN scores, a zero vector, counted in `info`.

    Args:
        samples: any sequence; rows come out in this order. Ids must be unique.
        learner: the model; with an adapter its gradients are taken, without one those of a virtual adapter.
        config: layers, dim, batch_tokens, embedding_tokens.
        out: folder for shards and arrays; made if missing.
        executor: where shards are worked on; None: this process.
        seed: of the sketch and of virtual adapters.
        progress: where to report.

    Returns:
        Features with N rows; `vectors` N x dim float16 of unit norm, `embeddings` N x H float16, memory-mapped.

    Raises:
        DataError: two samples share an id.
        StoreError: `out` holds shards of another model, adapter or setting.
    """
    out.mkdir(parents=True, exist_ok=True)
    ids = tables.text_array([sample.id for sample in samples])
    if len(set(ids)) < len(ids):
        raise DataError(f"{len(ids) - len(set(ids))} samples share an id with another; ids must be unique")
    batch_tokens = auto_batch_tokens(learner.device) if config.batch_tokens == "auto" else config.batch_tokens
    shards = plan_shards(token_lengths(samples, learner), batch_tokens)
    progress = progress or Silent()
    with meter(learner, config, seed=seed) as ready, progress.stage("extract", len(samples)) as bar:
        maker = _maker(ready, ids, seed, batch_tokens)
        _check_maker(out, maker)
        summaries = []
        work = partial(measure_shard, meter=ready, samples=samples, out=out)
        for summary in (executor or LocalExecutor()).map(work, shards):
            summaries.append(summary)
            bar.advance(summary.num_rows)
    info = {**maker, **counts(summaries)}
    return assemble(ids, shards, ready.dim, out, info)


def _maker(ready: Meter, ids: np.ndarray, seed: int, batch_tokens: int) -> dict[str, Any]:
    """Return who makes these features: what must agree for shards to belong together."""
    return {
        "model": ready.learner.config.path,
        "fingerprint": ready.learner.fingerprint,
        "layers": ready.config.layers,
        "dim": ready.dim,
        "vector": ready.config.vector,
        "embedding_tokens": ready.config.embedding_tokens,
        "adapter": "real" if hasattr(ready.learner.model, "peft_config") else "virtual",
        "scorers": registry.scorer.names(),
        "batch_tokens": batch_tokens,
        "seed": seed,
        "code": adaptinf.__version__,
        "ids": f"{len(ids)} rows, {tables.digest(ids)}",
    }


def _check_maker(out: Path, maker: dict[str, Any]) -> None:
    """Write who makes the features before the first shard, or refuse to go on with somebody else's."""
    path = out / "maker.json"
    if not path.exists():
        store.write_whole(path, maker)
        return
    found = tables.read_json(path)
    differing = [key for key, value in maker.items() if found.get(key) != value]
    if differing:
        key = differing[0]
        raise StoreError(
            f"{out} holds shards made with {key}={found.get(key)!r}, now it is {maker[key]!r}; "
            "delete that folder to extract anew"
        )
