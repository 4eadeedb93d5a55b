"""How a model is held and computed: kernel of its attention, and bits of its weights; what cannot be is refused."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import torch
from peft.utils.integrations import dequantize_bnb_weight
from torch import Tensor, nn
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available, is_flash_attn_2_available, is_kernels_available

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models.placement import pick_device, pick_dtype
from adaptinf.words import one_line

FLASH = "flash_attention_2"
"""The kernel that needs a GPU, a package and weights of 16 bits."""
QUANTISED_IN_FOLDER = "quantization_config"
"""In config.json of a model whose weights were quantised before they were saved."""
PACKS_ITSELF = "support_avx512bf16_for_cpu"
"""Attribute of a layer of bitsandbytes: whether it packs its weight for inference on a CPU that has such numbers."""
PREPARES_ITSELF = "init_8bit_state"
"""Method of a layer of bitsandbytes that its first pass calls."""
GRADIENT_BOUND = 0.05
"""Largest relative error of the gradient through a quantised layer; bfloat16 rounds to 0.003, a wrong one is near 1."""


def complaints(config: ModelConfig) -> list[str]:
    """Return a line per setting of the model that this machine cannot fulfil, found without the model's weights."""
    lines = []
    if config.quantization != "none" and (cause := _no_bitsandbytes()) is not None:
        lines.append(
            f"model.quantization: {config.quantization} needs bitsandbytes, {cause}: pip install "
            "'adaptinf[quantization]', or set model.quantization: none"
        )
    if config.quantization == "8bit" and config.lora.dora and pick_device(config.device).type == "cpu":
        lines.append(
            "model.lora.dora: true and model.quantization: 8bit fail on a CPU, in PEFT and bitsandbytes; set "
            "model.quantization: 4bit, or use a GPU"
        )
    if config.attention == FLASH and (cause := _no_flash(config)) is not None:
        lines.append(f"model.attention: {FLASH} {cause}; set model.attention: auto")
    return lines


def _no_bitsandbytes() -> str | None:
    if not is_bitsandbytes_available():
        is_there = find_spec("bitsandbytes") is not None
        return "and the installed version is too old" if is_there else "which is not installed"
    try:
        import bitsandbytes  # noqa: F401
    except Exception as error:  # a library in C that looks for others: it can raise anything
        return f"which cannot be imported ({one_line(error)})"
    return None


def _no_flash(config: ModelConfig) -> str | None:
    device = pick_device(config.device)
    if device.type != "cuda":
        return f"needs a GPU, and model.device is {device.type}"
    if pick_dtype(config.dtype, device) == torch.float32:
        return "takes weights of 16 bits only: set model.dtype: bfloat16"
    if not is_flash_attn_2_available() and not is_kernels_available():
        return "needs the package flash-attn, which is not installed (pip install flash-attn)"
    return None


def load_options(config: ModelConfig, model_config: Any, device: torch.device) -> dict[str, Any]:
    """Return what `from_pretrained` is told about kernel and bits; nothing where the settings ask for nothing.

    Raises:
        ModelError: this machine cannot do it, or the folder's weights are quantised already.
    """
    if lines := complaints(config):
        raise ModelError("; ".join(lines))
    options: dict[str, Any] = {} if config.attention == "auto" else {"attn_implementation": config.attention}
    if config.quantization == "none":
        return options
    if getattr(model_config, QUANTISED_IN_FOLDER, None):
        raise ModelError(
            f"model.quantization: {config.quantization}, but the weights in model.path={config.path} are quantised "
            "already; set model.quantization: none to use them as they are, or name the unquantised model"
        )
    return {
        **options,
        "quantization_config": quantisation_settings(config.quantization, pick_dtype(config.dtype, device)),
        # bitsandbytes quantises a weight when it is moved, so it is loaded where it stays.
        "device_map": {"": str(device)},
    }


def quantisation_settings(kind: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return the settings of bitsandbytes: 8 bits by LLM.int8(), or 4 by nf4, which computes in `dtype`."""
    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def check_loaded(config: ModelConfig, model: Any) -> None:
    """Refuse a model that was loaded otherwise than asked for, which transformers does with a warning at most.

    Quantised layers are made ready, in place.

    Raises:
        ModelError: with what it is and what to set.
    """
    prepare_quantised(model)
    used = attention_of(model)
    if config.attention not in ("auto", used):
        raise ModelError(
            f"model.attention: {config.attention} is not supported by {type(model).__name__}, which computes with "
            f"{used}; set model.attention: auto"
        )
    if config.quantization != "none" and not is_quantised(model):
        raise ModelError(
            f"model.quantization: {config.quantization} left every weight of {type(model).__name__} as it is: it has "
            "no linear layer of torch's own class; set model.quantization: none"
        )


def attention_of(model: Any) -> str | None:
    """Return the kernel of the language model's attention, as transformers names it; None where it says nothing."""
    kernel: str | None = getattr(model.config.get_text_config(), "_attn_implementation", None)
    return kernel


def is_quantised_layer(module: nn.Module) -> bool:
    """Return whether a layer, with an adapter or without, holds its weight in other numbers than it computes with."""
    weight = getattr(getattr(module, "base_layer", module), "weight", None)
    return isinstance(weight, torch.Tensor) and (
        not weight.is_floating_point() or type(weight) not in (nn.Parameter, torch.Tensor)
    )


def is_quantised(model: nn.Module) -> bool:
    """Return whether a model has a quantised layer."""
    return any(is_quantised_layer(module) for module in model.modules())


def prepare_quantised(model: nn.Module) -> None:
    """Make quantised layers ready for adapters and gradients, in place.

    Some turn their weight, for good, into a form for inference in their first pass in evaluation mode, and from then on
    pass back no gradient, in training too, without a word. Others are not whole before their first pass.
    """
    for module in model.modules():
        if hasattr(module, PACKS_ITSELF):
            setattr(module, PACKS_ITSELF, False)
        prepare = getattr(module, PREPARES_ITSELF, None)
        if prepare is not None and getattr(module.weight, "CB", None) is not None:
            prepare()


def dequantised(layer: Any) -> Tensor | None:
    """Return the weight that a layer, with an adapter or without, stands for; None of a kind that is not known."""
    plain = getattr(layer, "base_layer", layer)
    if not is_quantised_layer(plain):
        weight: Tensor = plain.weight
        return weight
    if not type(plain).__module__.startswith("bitsandbytes"):
        return None
    # Not dequantize_module_weight, which on a CPU leaves a layer of 8 bits without its scales.
    found: Tensor = dequantize_bnb_weight(plain.weight, state=getattr(plain, "state", None))
    return found


def check_gradients(model: nn.Module, dtype: torch.dtype) -> None:
    """Refuse a model with a kind of quantised layer through which gradients are wrong on this device.

    Raises:
        ModelError: with the name of the first such layer.
    """
    tried: set[type] = set()
    for name, module in model.named_modules():
        kind = type(getattr(module, "base_layer", module))
        if is_quantised_layer(module) and kind not in tried and dequantised(module) is not None:
            tried.add(kind)
            error = gradient_error(module, dtype)
            if not error <= GRADIENT_BOUND:
                raise ModelError(
                    f"layer {name} is a {kind.__name__} through which gradients are wrong on this device (relative "
                    f"error {error:.2g}); use a GPU, load the model unquantised, or set extraction.vector: hidden"
                )


def gradient_error(layer: Any, dtype: torch.dtype) -> float:
    """Return the relative error of the gradient through a quantised layer, against its weight dequantised.

    Some kernels are for inference only, and pass back something else without a word. `dtype` is that of its input.
    """
    plain = getattr(layer, "base_layer", layer)
    weight = dequantised(layer)
    assert weight is not None, "only layers whose weight is known are tried"
    steps = torch.Generator().manual_seed(0)
    given = torch.randn(3, 7, plain.in_features, generator=steps).to(plain.weight.device, dtype).requires_grad_(True)
    with torch.enable_grad():
        output = plain(given)
        slope = torch.randn(output.shape, generator=steps).to(output)
        (found,) = torch.autograd.grad(output, given, slope, allow_unused=True)
    if found is None:
        return math.inf
    expected = slope.float() @ weight.float()
    return float((found.float() - expected).norm() / expected.norm())
