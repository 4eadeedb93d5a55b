"""The part of an adapter that merging into 16 bits rounds away, against the merge itself."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from adaptinf.models.rounding import MUCH, lost_by_merging, rounding_line


def adapted(dtype: torch.dtype, size: float) -> nn.Module:
    """Return two linear layers with an adapter whose change is about `size` times the weights."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(64, 48), nn.Linear(48, 32)).to(dtype)
    model = get_peft_model(layers, LoraConfig(r=4, lora_alpha=4, target_modules=["0", "1"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=size)
    return model


@torch.no_grad()
@pytest.mark.parametrize("size", [1e-4, 1e-3, 3e-2])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_is_what_peft_loses_when_it_merges(dtype, size):
    model = adapted(dtype, size)
    before = [layer.base_layer.weight.double() for layer in model.base_model.model]
    changes = [layer.get_delta_weight("default").double() for layer in model.base_model.model]
    merged = [layer.weight.double() for layer in copy.deepcopy(model).merge_and_unload()]
    pairs = list(zip(before, changes, merged, strict=True))
    error = sum(float((after - (weight + change)).square().sum()) for weight, change, after in pairs)
    wanted = (error / sum(float(change.square().sum()) for change in changes)) ** 0.5
    assert lost_by_merging(model) == pytest.approx(wanted, rel=0.05)


def test_small_changes_lose_more_and_float32_nothing():
    small, large = (lost_by_merging(adapted(torch.bfloat16, size)) for size in (1e-4, 1e-1))
    assert small > MUCH > large > 0
    assert "an error of" in rounding_line(small, torch.bfloat16) and rounding_line(large, torch.bfloat16) == ""
    assert lost_by_merging(adapted(torch.float32, 1e-3)) is None and rounding_line(None, torch.float32) == ""


def test_an_adapter_that_has_learnt_nothing_loses_nothing():
    assert lost_by_merging(adapted(torch.bfloat16, 0.0)) is None
