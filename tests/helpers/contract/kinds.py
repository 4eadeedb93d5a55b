"""The kinds of adapters of the contract: each is trained, saved, loaded, gone on with and merged, and is the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptinf.config import ExtractionConfig, LoraConfig, TrainingConfig
from adaptinf.doctor.exactness import autograd_error
from adaptinf.errors import ConfigError
from adaptinf.extraction import extract
from adaptinf.models import Learner
from adaptinf.models.adapters import begin_adapter, continue_adapter, load_adapter, merge_adapter
from adaptinf.models.blocks import base_model
from adaptinf.models.experts import fused_experts
from adaptinf.models.shares import shares_of
from adaptinf.training import train
from tests.helpers.contract.ground import Ground, row_of

SEED = 5
STEP = TrainingConfig(batch_size=8, micro_batch_size=8, learning_rate=1e-2)
KINDS: dict[str, dict[str, Any]] = {"rslora": {}, "dora": {}, "pissa": {}, "vision": {}}
"""Setting of `model.lora` -> other settings of it."""


def check_kinds(ground: Ground) -> None:
    """rsLoRA, DoRA, PiSSA and adapters of the vision tower go through training, saving, going on and merging."""
    for kind in KINDS:
        if kind != "vision" or ground.family.has_vision:
            _go_through(ground, LoraConfig(rank=4, alpha=8, **{kind: True}), kind)


def check_experts(ground: Ground) -> None:
    """Fused experts get an adapter that moves, whose gradient is autograd's; without any the setting is refused."""
    lora = LoraConfig(rank=4, alpha=8, experts=True)
    learner = ground.learner(lora=lora)
    places = fused_experts(learner.model)
    if not places:
        with pytest.raises(ConfigError, match="no fused experts are found"):
            begin_adapter(learner, SEED)
        return
    layer = max(layer for layer, _ in places)
    adapted = ground.adapted(trained=True, lora=lora)
    config = ExtractionConfig(vector="gradient", layers=layer, image="unmeasured", dim=512)
    error = autograd_error(adapted, config, ground.samples[:3], seed=SEED)
    if error is not None and 1e-5 < error < 1e-4:
        # As for the adapters on linear layers: float64 tells the order of a sum from a mistake.
        base_model(adapted.model).set_experts_implementation("eager")
        adapted = adapted.with_model(adapted.model.double())
        error = autograd_error(adapted, config, ground.samples[:3], seed=SEED)
    assert error is not None and error <= 1e-5, f"off autograd by {error:.1e}"
    _check_batches(ground, learner, config)
    before, after = shares_of(ground.adapted()), shares_of(adapted)
    assert before.adapted_expert_weights == 0 and after.adapted_expert_weights == after.expert_weights > 0
    assert after.trained_share > before.trained_share
    _go_through(ground, lora, "experts")


def _check_batches(ground: Ground, learner: Learner, config: ExtractionConfig) -> None:
    """Vectors of virtual adapters on experts are the same in a batch as alone."""
    with tempfile.TemporaryDirectory() as folder:
        together = extract(ground.samples, learner, config, out=Path(folder, "all")).vectors.astype("float32")
        for row, sample in enumerate(ground.samples[:2]):
            alone = extract([sample], learner, config, out=Path(folder, sample.id)).vectors[0].astype("float32")
            assert float(together[row] @ alone) >= 1 - 2e-3, f"{sample.id} has another vector in a batch"


def _go_through(ground: Ground, lora: LoraConfig, kind: str) -> None:
    """Two steps of `adapter: continue`, and one of `adapter: merge`, with the logits that they must have."""

    def fresh() -> Learner:
        return ground.learner(lora=lora)

    with tempfile.TemporaryDirectory() as folder:
        base, learner = _logits(ground, fresh()), begin_adapter(fresh(), SEED)
        _same(base, _logits(ground, learner), f"a new {kind} adapter changes the model")
        _train(ground, learner, Path(folder, "0"), kind)
        trained = _logits(ground, learner)
        again = continue_adapter(fresh(), Path(folder, "0"))
        _same(trained, _logits(ground, again), f"a saved {kind} adapter is another one when gone on with")
        _same(trained, _logits(ground, load_adapter(fresh(), Path(folder, "0"))), f"{kind}: PEFT loads another adapter")
        merged = merge_adapter(load_adapter(fresh(), Path(folder, "0")))
        _same(trained, _logits(ground, merged), f"{kind}: merged is not unmerged")
        # Bases, as PEFT changes modules in place.
        _same(trained, _logits(ground, begin_adapter(merged, SEED + 1)), f"{kind}: the next adapter begins elsewhere")
        _train(ground, again, Path(folder, "1"), kind)
        second = _logits(ground, again)
        assert not torch.allclose(second, trained), f"{kind}: the second step learnt nothing"
        found = merge_adapter(load_adapter(fresh(), Path(folder, "1")))
        _same(second, _logits(ground, found), f"{kind}: after two steps merged is not unmerged")


def _train(ground: Ground, learner: Learner, out: Path, kind: str) -> None:
    """One step in which every adapter moves; magnitudes and both factors count."""
    before = {name: weight.clone() for name, weight in learner.model.named_parameters() if weight.requires_grad}
    train(ground.samples, learner, STEP, out=out)
    after = dict(learner.model.named_parameters())
    # With B = 0 the gradient of A is zero in the first step.
    still = [name for name, own in before.items() if "lora_A" not in name and torch.equal(own, after[name])]
    assert before and not still, f"{kind}: {len(still)} of {len(before)} weights did not move, e.g. {still[:1]}"


@torch.no_grad()
def _logits(ground: Ground, learner: Learner) -> Tensor:
    logits: Tensor = learner.model(**row_of(learner, ground.samples[0]).inputs, use_cache=False).logits
    return logits.double()


def _same(one: Tensor, other: Tensor, what: str) -> None:
    error = float((one - other).norm() / one.norm())
    assert error <= 1e-4, f"{what}: logits off by {error:.1e}"
