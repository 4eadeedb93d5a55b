"""Adapters of every kind that PEFT makes: right, or refused by name."""

import numpy as np
import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model

from adaptinf.config import ExtractionConfig
from adaptinf.doctor.exactness import autograd_error
from adaptinf.errors import ModelError
from adaptinf.extraction.adapters import cheap_adapters
from adaptinf.extraction.meter import open_meter
from adaptinf.models import load
from adaptinf.models.blocks import lora_targets
from adaptinf.models.kernels import dequantised, is_quantised_layer
from tests.extraction.reference import SEED, measure

CONFIG = ExtractionConfig(dim=512)


def with_peft(learner, **options):
    """Return the learner with an adapter of PEFT's, both factors random."""
    targets = lora_targets(learner.model, None)
    config = PeftLoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM", **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = get_peft_model(learner.model, config).eval()
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.05)
    return learner.with_model(model)


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"lora_dropout": 0.5}, {"use_dora": True}], ids=str)
def test_plain_rank_stabilised_and_dora_adapters_have_autograds_gradient_and_no_dropout(
    learner, ragged_samples, options
):
    adapted = with_peft(learner, **options)
    adapted.model.train()  # as a trainer leaves it
    assert autograd_error(learner.with_model(adapted.model.eval()), CONFIG, ragged_samples[:3], seed=SEED) <= 1e-5
    adapted.model.train()
    with open_meter(adapted, CONFIG, seed=SEED) as ready:
        first, second = measure(ready, ragged_samples), measure(ready, ragged_samples)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert adapted.model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alora_invocation_tokens": [1]}, "kind ALora.*train the adapter without it"),
        ({"lora_bias": True}, "adapter with a bias.*lora_bias: false"),
    ],
)
def test_adapters_for_which_the_formula_does_not_hold_are_refused_by_name(learner, options, message):
    with pytest.raises(ModelError, match=message), open_meter(with_peft(learner, **options), CONFIG, seed=SEED):
        pass


def test_two_active_adapters_are_refused(learner):
    adapted = with_peft(learner)
    targets = lora_targets(learner.model, None)
    adapted.model.add_adapter("second", PeftLoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    adapted.model.base_model.set_adapter(["default", "second"])
    assert list(adapted.model.base_model.active_adapters) == ["default", "second"]
    with pytest.raises(ModelError, match="2 active adapters.*set_adapter"), open_meter(adapted, CONFIG, seed=SEED):
        pass


def test_a_block_of_unknown_quantised_layers_is_refused_by_their_names(learner):
    class QuantLinear(torch.nn.Module):
        """Stands for a layer of GPTQ's: integers in buffers, no weight."""

    for block in learner.model.get_decoder().layers:
        for name, module in list(block.named_modules()):
            if isinstance(module, torch.nn.Linear):
                block.set_submodule(name, QuantLinear())
    with pytest.raises(ModelError, match="only .*QuantLinear.*unquantised"), open_meter(learner, CONFIG, seed=SEED):
        pass


def quantised(learner, kind):
    pytest.importorskip("bitsandbytes", reason="quantised bases are tested where it is installed")
    return load(learner.config.model_copy(update={"quantization": kind, "device": "cpu"}))


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_gradients_through_quantised_weights_are_those_through_the_same_weights_dequantised(
    learner, ragged_samples, kind
):
    """8 bits round what a layer is given as well, so its output differs by as much."""
    plain = load(learner.config)
    narrow = quantised(learner, kind)
    for name, module in narrow.model.named_modules():
        if is_quantised_layer(module):
            plain.model.get_submodule(name).weight.data = dequantised(module).float()
    adapted, exact = with_peft(narrow), with_peft(plain)
    assert autograd_error(adapted, CONFIG, ragged_samples[:3], seed=SEED) <= 1e-5
    found = []
    for own in (adapted, exact):
        with open_meter(own, CONFIG, seed=SEED) as ready:
            found.append(measure(ready, ragged_samples).vectors)
    assert np.all((found[0] * found[1]).sum(1) >= (1 - 1e-6 if kind == "4bit" else 0.98))


def test_a_quantised_layer_whose_kernel_passes_back_something_else_is_refused(learner, ragged_samples, monkeypatch):
    narrow = quantised(learner, "4bit")
    bitsandbytes = pytest.importorskip("bitsandbytes")
    forward = bitsandbytes.nn.Linear4bit.forward
    monkeypatch.setattr(bitsandbytes.nn.Linear4bit, "forward", lambda self, x: forward(self, 2 * x) / 2 + 0.5 * x.sum())
    with pytest.raises(ModelError, match="Linear4bit through which gradients are wrong.*vector: hidden"):
        with open_meter(narrow, CONFIG, seed=SEED):
            pass
    with open_meter(narrow, CONFIG.model_copy(update={"vector": "hidden"}), seed=SEED) as ready:
        assert np.isfinite(measure(ready, ragged_samples).vectors).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_a_base_quantised_by_bitsandbytes_has_autograds_gradient_on_a_gpu(learner, ragged_samples, kind):
    pytest.importorskip("bitsandbytes")
    narrow = load(learner.config.model_copy(update={"quantization": kind, "device": "cuda"}))
    assert autograd_error(with_peft(narrow), CONFIG, ragged_samples[:3], seed=SEED) <= 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_measuring_leaves_the_weights_bit_by_bit_and_the_adapter_beside_them(learner, ragged_samples, dtype):
    adapted = with_peft(learner.with_model(learner.model.to(dtype)))
    before = {name: weight.clone() for name, weight in adapted.model.state_dict().items()}
    with open_meter(adapted, CONFIG, seed=SEED) as ready:
        measure(ready, ragged_samples[:2])
    after = adapted.model.state_dict()
    assert all(
        torch.equal(after[name], weight) and after[name].dtype == weight.dtype for name, weight in before.items()
    )
    assert not any(getattr(module, "merged", False) for module in adapted.model.modules())
    assert not any("forward" in vars(module) for module in adapted.model.modules())


def test_a_bfloat16_adapter_is_rounded_and_its_layers_give_what_pefts_give(learner):
    """Float32 factors beside bfloat16 weights would cost a GPU more than the weights do."""
    adapted = with_peft(learner.with_model(learner.model.to(torch.bfloat16)))
    layers = [module for module in adapted.model.modules() if hasattr(module, "lora_A")]
    inputs = [
        torch.randn(2, 3, layer.in_features, generator=torch.Generator().manual_seed(0)).bfloat16() for layer in layers
    ]

    def outputs():
        return [layer(x).float() for layer, x in zip(layers, inputs, strict=True)]

    with torch.no_grad():
        exact = outputs()
        with cheap_adapters(adapted.model):
            short = outputs()
        again = outputs()
    for one, other, last in zip(exact, short, again, strict=True):
        assert 0 < float((one - other).norm() / one.norm()) < 2**-8
        assert torch.equal(one, last)
