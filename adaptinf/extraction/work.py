"""Extraction as work for an executor: a hooked model that makes the plan and measures shards."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import adaptinf
from adaptinf import registry
from adaptinf.config import ExtractionConfig, LoraConfig
from adaptinf.data import Sample
from adaptinf.errors import AdaptError, ModelError
from adaptinf.extraction.batch_size import tokens_per_batch
from adaptinf.extraction.batches import Prepared, Preparer
from adaptinf.extraction.compiled import CompiledBlocks, begin_compiled, compilable, follow, wants_compiled
from adaptinf.extraction.cuts import Shard
from adaptinf.extraction.meter import Measured, Meter, open_meter
from adaptinf.extraction.plan import Plan, make_plan
from adaptinf.extraction.shards import (
    COMPILED,
    MAKER_FILE,
    PLAN_FILE,
    ShardFile,
    ShardSummary,
    shard_path,
    summary_of,
    write_shard,
)
from adaptinf.models.lengths import token_lengths
from adaptinf.models.loading import Learner
from adaptinf.models.memory import is_out_of_memory, release
from adaptinf.models.mixing import kinds_of
from adaptinf.models.recipe import LearnerRecipe, made
from adaptinf.models.refusals import failure
from adaptinf.models.threads import torch_threads
from adaptinf.storage import store, tables

logger = logging.getLogger(__name__)

FIRST_SETTINGS = {"rank", "alpha", "dropout", "target_modules"}
"""Settings of an adapter that always stand in the features' `info.json`."""


class Facts(NamedTuple):
    """What is known of an extraction once its model is loaded."""

    maker: dict[str, Any]
    """Who makes these features: what must agree for shards to belong together."""
    row_bytes: int
    """Bytes of one sample's vector and embedding."""


class ShardReport(NamedTuple):
    """A shard that a worker has measured and written."""

    file: ShardFile
    """Where it is."""
    summary: ShardSummary
    """What was counted."""
    seconds: float
    """How long it took the worker."""


@dataclass(frozen=True, kw_only=True)
class ExtractionWork:
    """Measuring samples with one model."""

    samples: Sequence[Sample]
    """All samples of the extraction; a view of the pool is sent to other processes as paths and row numbers."""
    learner: Learner | LearnerRecipe
    """The model that measures: loaded, within this process, or how to make it."""
    config: ExtractionConfig
    """What to measure."""
    seed: int
    """Of the sketch, of the directions of `zeroth_order` and of virtual adapters."""
    folder: Path
    """Of the shards."""
    num_threads: int
    """Torch's threads in each worker, as the last bits depend on them."""

    @contextmanager
    def open(self) -> Iterator[Extractor]:
        """Load the model unless it is loaded, hook it, and start the threads that prepare batches."""
        with (
            torch_threads(self.num_threads),
            open_meter(made(self.learner), self.config, seed=self.seed) as meter,
            Preparer(meter.learner, self.samples, image=meter.config.image) as preparer,
            compilable(meter) as blocks,
        ):
            yield Extractor(meter=meter, preparer=preparer, work=self, blocks=blocks)


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A hooked model, and what prepares its batches."""

    meter: Meter
    """Measures batches."""
    preparer: Preparer
    """Makes batches of the samples."""
    work: ExtractionWork
    """What is to be done."""
    blocks: CompiledBlocks
    """The model's blocks, compiled or not."""

    def describe(self, ids: str) -> Facts:
        """Return what must agree for shards to belong together, and the size of a row.

        Args:
            ids: stands for the ids of all samples.
        """
        hidden_size = int(self.meter.learner.model.config.get_text_config().hidden_size)
        return Facts(
            maker=_maker(self.meter, ids, self.work.seed),
            row_bytes=np.dtype(np.float16).itemsize * (self.meter.dim + hidden_size),
        )

    def plan(self, maker: dict[str, Any]) -> str | None:
        """Make the plan and leave it, with its maker, in the shards' folder; return what is to be said about it.

        Raises:
            ModelError: blocks were to be compiled, and cannot be.
        """
        folder, samples = self.work.folder, self.work.samples
        lengths = token_lengths(samples, self.meter.learner)
        kinds = kinds_of(self.meter.learner, samples)
        batch_tokens = tokens_per_batch(self.meter, samples, lengths, kinds)
        plan = make_plan(lengths, batch_tokens, num_threads=torch.get_num_threads(), kinds=kinds)
        plan.save(folder / PLAN_FILE)
        # After the plan: where its maker is known, the plan is whole.
        line = self._compile(plan)
        store.write_json_whole(folder / MAKER_FILE, {**maker, COMPILED: self.blocks.is_on})
        return line

    def _compile(self, plan: Plan) -> str | None:
        samples, config = self.work.samples, self.meter.config
        if not plan.batches or not wants_compiled(config, self.meter.learner.device, len(samples)):
            return None
        # Half of it, as comparing takes more memory than measuring.
        half = plan.batches[0][: max(2, len(plan.batches[0]) // 2)]
        (first,) = self.preparer.prepared([half])
        return begin_compiled(self.blocks, first, is_asked=config.compile is True)

    def measure(self, shard: Shard) -> ShardReport:
        """Measure a shard and write it.

        Raises:
            ModelError: the extraction began with compiled blocks, which are not possible here.
        """
        follow(self.blocks, bool(tables.read_json(self.work.folder / MAKER_FILE).get(COMPILED)))
        started = time.monotonic()
        columns = _measure_batches(shard, self.meter, self.preparer)
        path = shard_path(self.work.folder, shard)
        write_shard(path, columns)
        return ShardReport(
            file=ShardFile(path, range(shard.start, shard.stop)),
            summary=summary_of(columns),
            seconds=time.monotonic() - started,
        )


def _maker(meter: Meter, ids: str, seed: int) -> dict[str, Any]:
    learner, config = meter.learner, meter.config
    adapter = learner.adapter_fingerprint
    return {
        "model": learner.config.path,
        "fingerprint": learner.fingerprint,
        "adapter": "virtual" if adapter is None else "real",
        "adapter_fingerprint": adapter,
        "lora": _lora_settings(learner.config.lora),
        **_how_it_computes(learner),
        "max_length": learner.config.max_length,
        "model_dtype": str(learner.model.dtype).removeprefix("torch."),
        **config.model_dump(exclude={"model", "keep", "batch_tokens", "compile", "dim", "refresh"}),
        "batch_tokens": config.batch_tokens,
        "dim": meter.dim,
        "scorers": registry.scorer.names(),
        "seed": seed,
        "code": adaptinf.__version__,
        "ids": ids,
    }


def _lora_settings(lora: LoraConfig) -> dict[str, Any]:
    """Return the settings of the adapter; those that the first version lacked where they are set only."""
    return {**lora.model_dump(include=FIRST_SETTINGS), **lora.model_dump(exclude=FIRST_SETTINGS, exclude_defaults=True)}


def _how_it_computes(learner: Learner) -> dict[str, Any]:
    """Return the kernel of the attention and the bits of the weights, where they are set."""
    return learner.config.model_dump(include={"attention", "quantization"}, exclude_defaults=True)


def _measure_batches(shard: Shard, meter: Meter, preparer: Preparer) -> dict[str, np.ndarray]:
    """Return a shard's columns: rows, vectors, embeddings, one column per scorer, and what went wrong."""
    rows: list[int] = []
    unreadable: list[str] = []
    refused: list[tuple[str, str]] = []
    pieces: list[dict[str, np.ndarray]] = []
    num_split = num_tokens = num_padding = 0
    for prepared in preparer.prepared(shard.batches):
        failed: dict[int, str] = {}
        measured = _measure_or_split(meter, preparer, prepared, failed)
        rows += [row for row in prepared.rows if row not in failed]
        unreadable += prepared.unreadable
        names = dict(zip(prepared.rows, prepared.ids, strict=True))
        refused += [*prepared.refused, *((names[row], reason) for row, reason in failed.items())]
        pieces += [_columns_of(piece) for piece in measured]
        num_split += max(0, len(measured) - 1)
        num_tokens += sum(piece.num_tokens for piece in measured)
        num_padding += sum(piece.num_padding for piece in measured)
    pieces = pieces or [_no_columns()]
    return {
        "rows": np.array(rows, dtype=np.int64),
        **{name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]},
        "unreadable": np.array(unreadable, dtype=np.str_),
        "refused": np.array(refused, dtype=np.str_).reshape(-1, 2),
        "num_split": np.array(num_split),
        "num_tokens": np.array(num_tokens),
        "num_padding": np.array(num_padding),
    }


def _columns_of(measured: Measured) -> dict[str, np.ndarray]:
    """Return the columns of a batch; float16 at once, as they wait in memory for the other batches of the shard."""
    return {
        "vectors": measured.vectors.astype(np.float16),
        "embeddings": measured.embeddings.astype(np.float16),
        "has_answer": measured.has_answer,
        **{f"score_{name}": registry.scorer[name]()(measured.outcome) for name in registry.scorer.names()},
    }


def _no_columns() -> dict[str, np.ndarray]:
    """Return the columns of no batch, which do not know how long vectors and embeddings are."""
    return {
        "vectors": np.zeros((0, 0), np.float16),
        "embeddings": np.zeros((0, 0), np.float16),
        "has_answer": np.zeros(0, dtype=bool),
        **{f"score_{name}": np.zeros(0) for name in registry.scorer.names()},
    }


def _measure_or_split(meter: Meter, preparer: Preparer, prepared: Prepared, failed: dict[int, str]) -> list[Measured]:
    """Measure a batch; where that fails, measure its halves, so that one sample does not end the run.

    A sample of which the measurement itself fails is entered into `failed`: row -> why.
    """
    if not prepared.rows:
        return []
    try:
        return [meter.measure(prepared)]
    except AdaptError:
        raise
    except Exception as error:  # a model is a program of its authors: it can raise anything
        is_memory = is_out_of_memory(error)
        if len(prepared.rows) == 1 and is_memory:
            raise ModelError(
                f"{prepared.ids[0]} alone does not fit into the device's memory; "
                "set model.device: cpu and repeat the command, or choose another --out with a lower model.max_length "
                "or a smaller extraction.model"
            ) from error
        logger.debug("a batch of %d failed", len(prepared.rows), exc_info=True)
        if len(prepared.rows) == 1:
            failed[prepared.rows[0]] = failure(error)
            logger.warning("%s is unscored: %s", prepared.ids[0], failed[prepared.rows[0]])
    meter.trace.clear(None)
    release()
    middle = len(prepared.rows) // 2
    parts = [part for part in (prepared.rows[:middle], prepared.rows[middle:]) if len(part) < len(prepared.rows)]
    halves = preparer.prepared([part for part in parts if part])
    return [piece for half in halves for piece in _measure_or_split(meter, preparer, half, failed)]
