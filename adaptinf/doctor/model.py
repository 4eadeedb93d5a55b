"""A model tried on samples of a stream for about a minute: exactness, speed, time and disk for the whole run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from adaptinf import registry
from adaptinf.arrays.seeded import derive_seed
from adaptinf.config import DatasetConfig, ExtractionConfig, RunConfig
from adaptinf.config.schema.stages import FORWARD_ONLY
from adaptinf.data import Sample
from adaptinf.distributed.devices import RAY
from adaptinf.doctor.cost import cost_of, peak_operations, row_bytes
from adaptinf.doctor.exactness import agreement, autograd_error, sketch_error, usable
from adaptinf.doctor.forecast import Plan, Rates, forecast, seconds_per_sample
from adaptinf.doctor.machine import Check, OnCheck, ignored
from adaptinf.doctor.training_speed import training_speed
from adaptinf.doctor.workers import check_cores, check_devices, check_workers, core_share
from adaptinf.errors import DataError
from adaptinf.extraction.batch_size import tokens_per_batch
from adaptinf.extraction.batches import Preparer
from adaptinf.extraction.meter import Meter, open_meter
from adaptinf.extraction.plan import MAX_PADDING, make_plan
from adaptinf.formats.reading import read_entry
from adaptinf.models import Learner, LearnerRecipe
from adaptinf.models.lengths import token_lengths
from adaptinf.models.mixing import kinds_of
from adaptinf.models.shares import shares_of
from adaptinf.models.trial import try_model
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.runs import kept_forecast
from adaptinf.runs.learners import learner_at_start
from adaptinf.runs.methods import cap_of, method_traits
from adaptinf.runs.settings import resolve
from adaptinf.sources import chosen_source, count_rows
from adaptinf.training.packing_trial import packing_finding
from adaptinf.words import format_rate

TRIED_SAMPLES = 256
"""Samples that are read, evenly from the beginnings of all datasets."""
NUM_STAGES = 7
"""Steps of the progress bar: data, model, batches, sketch, speed, autograd, training."""
COMPARED_SAMPLES = 8
"""Samples that are measured both alone and in a batch."""
TIMED_SECONDS = 20.0
"""No further batch is timed after this time."""
BOUNDS = {torch.float32: (1e-4, 1e-3), torch.bfloat16: (2e-2, 0.1), torch.float16: (1e-2, 0.05)}
"""Type of the weights -> largest accepted 1 - cosine, and relative error of a gradient."""
SPREAD = 0.01
"""Standard deviation of B in the trial adapter; with zeros the gradient of A would not be checked."""


class Speed(NamedTuple):
    """Speed of extraction."""

    samples_per_second: float
    tokens_per_second: float
    operations_per_second: float
    padding: float
    """Share of padding among the tokens of the batches."""


def check_model(
    config: RunConfig, *, out: Path, progress: Progress | None = None, on_check: OnCheck = ignored
) -> list[Check]:
    """Return checks of exactness, speed and cost of extraction with the model of `config`, on samples of its stream.

    Args:
        config: a whole configuration; its stream is read, a run folder is not needed.
        out: folder that runs would be written to, for the free disk space.
        progress: where to report.
        on_check: called with every check as soon as it is known.

    Raises:
        DataError: no dataset of the stream has a usable row among its first.
        ModelError: the model cannot be loaded or used for extraction.
    """
    with registry.scope(config.plugins):
        found = []
        for check in _model_checks(config, out, progress or Silent()):
            on_check(check)
            found.append(check)
        return found


def _model_checks(config: RunConfig, out: Path, progress: Progress) -> Iterator[Check]:
    """Yield each check as soon as it is known."""
    with progress.stage("check the model", NUM_STAGES, unit="checks") as bar:
        samples = _trial_samples(config.stream)
        (num_workers, checks), (num_devices, more) = check_workers(config), check_devices(config)
        yield from [*checks, *more]
        plan = _plan(config, num_workers, num_devices)
        bar.advance()
        learner = _trial_learner(config)
        samples = usable(learner, samples)
        device = f"{learner.device}, {str(learner.model.dtype).removeprefix('torch.')}"
        yield Check("model", f"{learner.config.path} on {device}", True)
        yield _share_check(learner, config)
        for own in (*try_model(learner).findings, *([packing_finding(learner)] if config.training.packing else [])):
            yield Check(own.name, own.seen, own.is_good, own.way_out)
        bar.advance()
        with open_meter(learner, resolve(config).extraction, seed=config.seed) as ready:
            yield from _exactness(ready, samples, bar)
            speed = _timed(ready, samples, bar)
            yield from _speed_checks(speed, peak_operations(learner))
            bytes_a_row = row_bytes(ready.dim, int(learner.model.config.get_text_config().hidden_size))
        yield from _autograd_checks(learner, config, samples)
        bar.advance()
        if config.extraction.model is not None:
            # The proxy measures, and the model itself is trained.
            learner = _trial_learner(config.model_copy(update={"extraction": ExtractionConfig()}))
            samples = usable(learner, samples)
        trained, check = training_speed(learner, config.training, samples, num_devices)
        yield check
        bar.advance()
    is_hidden = resolve(config).extraction.vector in FORWARD_ONLY
    lower = "pruning.cap" if is_hidden else "extraction.dim or pruning.cap"
    rates = Rates(speed.samples_per_second, trained)
    if learner.device.type == "cpu" and config.executor != RAY:
        yield from check_cores(num_workers)
        rates = rates.shared(core_share(num_workers), core_share(num_devices))
    kept_forecast.keep(resolve(config), seconds_per_sample(plan, rates))
    yield from forecast(plan, rates, bytes_a_row, out, lower=lower)


def _share_check(learner: Learner, config: RunConfig) -> Check:
    """Return which share of the weights an adapter trains, and what gets none."""
    learnt, *left_out = shares_of(learner).lines(has_adapter=True)
    if config.training.tune == "full":
        return Check("weights", "tune: full trains language model and projector", True)
    return Check("weights", learnt, True, "; ".join(left_out))


def _trial_learner(config: RunConfig) -> Learner:
    """Return the model that extraction uses, with an adapter of random weights."""
    if config.extraction.model is not None:
        proxy = config.model.model_copy(update={"path": config.extraction.model})
        recipe = LearnerRecipe(model=proxy, new_adapter_seed=config.seed)
    else:
        start = learner_at_start(resolve(config), config.seed)
        # Also where all weights are trained, as gradients are those of an adapter, then a virtual one.
        recipe = start if start.continued is not None else replace(start, new_adapter_seed=config.seed)
    learner = recipe.make()
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "doctor") % 2**63)
    with torch.no_grad():
        for name, weight in learner.model.named_parameters():
            if "lora_B" in name and not weight.any():
                weight.copy_(SPREAD * torch.randn(weight.shape, generator=generator))
    return learner


def _trial_samples(stream: Sequence[DatasetConfig]) -> list[Sample]:
    """Return usable rows from the beginning of every dataset, alternating between datasets."""
    share = -(-TRIED_SAMPLES // max(1, len(stream)))
    found = [_first_samples(dataset, share) for dataset in stream]
    mixed = [sample for turn in range(share) for own in found for sample in own[turn : turn + 1]]
    if not mixed:
        raise DataError(
            "no dataset of the stream has a usable row at its beginning; run `adaptinf validate` on each to see why"
        )
    return mixed[:TRIED_SAMPLES]


def _first_samples(dataset: DatasetConfig, count: int) -> list[Sample]:
    rows = read_entry(dataset, source=dataset.name)
    return [row for row in islice(rows, count) if isinstance(row, Sample)]


def _num_rows(dataset: DatasetConfig) -> int:
    """Return the number of rows of a dataset, usable or not; no image is opened."""
    return sum(map(count_rows, chosen_source(dataset, seed=0).shards))


def _exactness(ready: Meter, samples: list[Sample], bar: Bar) -> list[Check]:
    bound = BOUNDS[ready.learner.model.dtype][0]
    off, scores = agreement(ready, samples[:COMPARED_SAMPLES])
    bar.advance()
    advice = "" if off <= bound else "vectors depend on the other samples of a batch; try model.dtype: float32"
    value = f"alone against batched: cosine at least {1 - off:.6f}, scores within {scores:.1e}"
    checks = [Check("batches", value, off <= bound, advice)]
    error = sketch_error(ready, samples[: 4 * COMPARED_SAMPLES])
    if error is not None:
        value = f"cosines within {error:.4f} of those of the exact gradients (RMS), {ready.dim} dims"
        checks.append(Check("sketch", value, True))
    bar.advance()
    return checks


def _autograd_checks(learner: Learner, config: RunConfig, samples: list[Sample]) -> list[Check]:
    """Compare gradients with autograd; not within the meter, whose hooks would cut the graph."""
    bound = BOUNDS[learner.model.dtype][1]
    error = autograd_error(learner, resolve(config).extraction, samples[:2], seed=config.seed)
    if error is None:
        return []
    advice = "" if error <= bound else "gradients are wrong for this model; set extraction.vector: hidden"
    return [Check("gradient", f"within {error:.1e} of autograd", error <= bound, advice)]


def _timed(ready: Meter, samples: list[Sample], bar: Bar) -> Speed:
    """Time batches in seeded order for at most TIMED_SECONDS, after one batch to warm up."""
    lengths = token_lengths(samples, ready.learner)
    kinds = kinds_of(ready.learner, samples)
    plan = make_plan(lengths, tokens_per_batch(ready, samples, lengths, kinds), kinds=kinds)
    batches = plan.batches
    order = np.random.default_rng(0).permutation(len(batches))
    cost, num_samples, num_tokens, num_padding, operations = cost_of(ready), 0, 0, 0, 0
    with Preparer(ready.learner, samples, image=ready.config.image) as preparer:
        ready.measure(next(preparer.prepared([batches[order[0]]])))
        started = time.perf_counter()
        for prepared in preparer.prepared(batches[number] for number in order):
            measured = ready.measure(prepared)
            num_samples += len(prepared.rows)
            num_tokens += measured.num_tokens - measured.num_padding
            num_padding += measured.num_padding
            operations += cost.of(prepared)
            if time.perf_counter() - started > TIMED_SECONDS:
                break
    seconds = time.perf_counter() - started
    bar.advance()
    return Speed(
        num_samples / seconds, num_tokens / seconds, operations / seconds, num_padding / (num_tokens + num_padding)
    )


def _speed_checks(speed: Speed, peak: float) -> list[Check]:
    samples = format_rate(speed.samples_per_second).removesuffix("/s")
    advice = "" if speed.padding <= MAX_PADDING else "the estimated lengths do not fit this model"
    return [
        Check("padding", f"{100 * speed.padding:.1f} % of the tokens", True, advice),
        Check("speed", f"{samples} samples/s, {speed.tokens_per_second:,.0f} tokens/s", True),
        Check(
            "device",
            f"{100 * speed.operations_per_second / peak:.0f} % of the speed of a large matrix product "
            f"({peak / 1e12:,.2f} TFLOP/s)",
            True,
        ),
    ]


def _plan(config: RunConfig, num_workers: int, num_devices: int) -> Plan:
    """Return what a run with this configuration will do."""
    return Plan(
        num_rows=tuple(_num_rows(dataset) for dataset in config.stream),
        cap=cap_of(config),
        budget=None if method_traits(config).whole_pool else config.selection.budget,
        epochs=config.training.epochs,
        refresh=config.extraction.refresh,
        num_workers=num_workers,
        num_devices=num_devices,
    )
