"""The cost of extraction: operations of a batch, operations per second of a device, bytes on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from adaptinf import registry
from adaptinf.extraction.batches import Prepared
from adaptinf.extraction.meter import Meter
from adaptinf.models.blocks import base_model, decoder_blocks, layer_numbers
from adaptinf.models.loading import Learner

PRODUCT_SIZES = {"cuda": 8192, "cpu": 2048}
"""Device type -> rows of the square matrices whose product measures the peak."""
PRODUCTS = 8
"""Products that are timed; the fastest counts."""
ID_BYTES = 32
"""Approximate bytes of an id in a table."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Floating-point operations of one learner."""

    blocks: int
    """Per token, in all decoder blocks."""
    attention: int
    """Per pair of tokens, in all decoder blocks: attention scores and weighted sums."""
    head: int
    """Per answer token, in the output head, forward and backward."""
    image: int
    """Per image, in vision tower and projector."""
    backward: float
    """Share of the blocks that the backward pass covers."""

    def of(self, prepared: Prepared) -> int:
        """Return the operations needed to measure a batch; operations on padding are not counted."""
        total = 0
        for batch, again in ((prepared.batch, self.backward), (prepared.without_images, 0.0)):
            if batch is None:
                continue
            lengths = batch.inputs["attention_mask"].sum(1).double()
            # With a causal mask, a token attends to half of the others on average.
            forward = self.blocks * float(lengths.sum()) + self.attention * float(lengths.square().sum()) / 2
            total += int(forward * (1.0 + again)) + self.head * int((batch.labels >= 0).sum())
            total += self.image * len(batch.inputs.get("pixel_values", ()))
        return total


def cost_of(meter: Meter) -> Cost:
    """Return the operations of a learner from the sizes of its weights: 2 per weight and token, plus attention."""
    learner = meter.learner
    model, blocks = base_model(learner.model), decoder_blocks(learner.model)
    size = int(model.config.get_text_config().hidden_size)
    head = 2 * meter.head.module.weight.numel()
    lowest = layer_numbers(meter.config.layers, len(blocks))[0]
    return Cost(
        blocks=2 * _matrix_elements(blocks),
        attention=4 * size * len(blocks),
        head=2 * head if meter.kind.needs_gradient else head,
        image=_image_operations(learner),
        backward=(len(blocks) - lowest) / len(blocks) if meter.kind.needs_gradient else 0.0,
    )


def _matrix_elements(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.dim() == 2)


def _image_operations(learner: Learner) -> int:
    """Return 2 operations per weight of the vision tower and patch of the image; 0 for a text-only model."""
    vision = getattr(base_model(learner.model).config, "vision_config", None)
    if vision is None or not hasattr(vision, "image_size"):
        return 0
    decoder = {id(weight) for weight in base_model(learner.model).get_decoder().parameters()}
    decoder |= {id(weight) for weight in base_model(learner.model).get_output_embeddings().parameters()}
    outside: int = sum(w.numel() for w in learner.model.parameters() if w.dim() == 2 and id(w) not in decoder)
    return 2 * outside * int(vision.image_size // vision.patch_size) ** 2


def peak_operations(learner: Learner) -> float:
    """Return the operations per second of a large matrix product on the device, in the type of the weights."""
    device, size = learner.device, PRODUCT_SIZES.get(learner.device.type, PRODUCT_SIZES["cpu"])
    # Random numbers, because a GPU multiplies equal ones faster: they need less power.
    generator = torch.Generator(device).manual_seed(0)
    factors = torch.randn(size, size, generator=generator, device=device, dtype=learner.model.dtype)
    fastest = float("inf")
    for _ in range(PRODUCTS):
        started = time.perf_counter()
        product = factors @ factors
        _wait(product)
        fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * size**3 / fastest


def _wait(tensor: Any) -> None:
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)


def row_bytes(dim: int, hidden_size: int) -> int:
    """Return the bytes of one sample in the features folder: float16 arrays, float64 scores, an id."""
    return 2 * (dim + hidden_size) + 8 * len(registry.scorer.names()) + ID_BYTES
