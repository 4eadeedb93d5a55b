"""The slow, obvious version: a batch of one, full logits, one-hots, autograd on the adapter's weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from adaptinf.config import ExtractionConfig
from adaptinf.data import Sample
from adaptinf.extraction.batches import prepare
from adaptinf.extraction.meter import Measured, Meter, open_meter
from adaptinf.models.adapters import begin_adapter, merge_adapter
from adaptinf.models.blocks import base_model, decoder_blocks, target_linears
from adaptinf.models.chat import IGNORED, encode, placed, without_images
from adaptinf.models.loading import Learner
from adaptinf.registry import scorer

SEED = 5


def open_all(sample: Sample) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sample.images]


def measure(ready: Meter, samples: Sequence[Sample], image: str = "removed") -> Measured:
    images = [open_all(sample) for sample in samples]
    return ready.measure(prepare(ready.learner, range(len(samples)), samples, images, image=image))


def measured_alone(learner: Learner, samples: Sequence[Sample], config: ExtractionConfig) -> list[Measured]:
    with open_meter(learner, config, seed=SEED) as ready:
        return [measure(ready, [sample]) for sample in samples]


def scores_of(measured: Measured) -> dict[str, Any]:
    return {name: scorer[name]()(measured.outcome) for name in scorer.names()}


def answer_distributions(learner: Learner, sample: Sample, images: list[Image.Image]) -> tuple[Tensor, Tensor]:
    """Return log-probabilities (T x V) at the answer positions and the answer tokens, from full float32 logits."""
    batch = encode(learner, [sample], [images])
    head, seen = base_model(learner.model).get_output_embeddings(), []
    hook = head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    learner.model(**placed(batch.inputs, learner), use_cache=False)
    hook.remove()
    bias = None if head.bias is None else head.bias.float()
    logits = torch.nn.functional.linear(seen[0][0].float(), head.weight.float(), bias)
    is_answer = batch.labels[0, 1:] != IGNORED
    return logits[:-1][is_answer].log_softmax(-1), batch.labels[0, 1:][is_answer]


def slow_loss(learner: Learner, sample: Sample) -> Tensor:
    log_p, answers = answer_distributions(learner, sample, open_all(sample))
    return -log_p[torch.arange(len(answers)), answers].mean()


def slow_scores(learner: Learner, sample: Sample, layers: list[int]) -> dict[str, float]:
    gradient = torch.cat([part.flatten() for part in slow_gradient(learner, sample, layers).values()])
    return {**slow_forward_scores(learner, sample), "grand": float(gradient.norm())}


@torch.no_grad()
def slow_forward_scores(learner: Learner, sample: Sample) -> dict[str, float]:
    """Return the scores that need no gradient."""
    log_p, answers = answer_distributions(learner, sample, open_all(sample))
    losses = -log_p[torch.arange(len(answers)), answers]
    one_hot = torch.nn.functional.one_hot(answers, log_p.shape[1])
    scores = {
        "perplexity": losses.mean(),
        "el2n": (log_p.exp() - one_hot).norm(dim=-1).mean(),
        "entropy": -(log_p.exp() * log_p).sum(-1).mean(),
    }
    if sample.images:
        bare_log_p, bare_answers = answer_distributions(learner, without_images(sample), [])
        scores["image_grounding"] = -bare_log_p[torch.arange(len(bare_answers)), bare_answers].mean() - losses.mean()
    return {name: float(value) for name, value in scores.items()}


def slow_gradient(learner: Learner, sample: Sample, layers: list[int]) -> dict[str, Tensor]:
    """Return {`<block>.<linear>.A` or `.B`: gradient} of one sample by autograd through the whole PEFT model."""
    weights = {
        f"{layer}.{name}.{factor}": getattr(linear, f"lora_{factor}")["default"].weight
        for layer in layers
        for name, linear in target_linears(learner.model, layer).items()
        for factor in "AB"
    }
    for weight in weights.values():
        weight.requires_grad_(True)
    gradients = torch.autograd.grad(slow_loss(learner, sample), list(weights.values()))
    return {name: gradient.float() for name, gradient in zip(weights, gradients, strict=True)}


def with_lora(learner: Learner, **options: Any) -> Learner:
    """Return the learner with other settings for its adapter."""
    lora = learner.config.lora.model_copy(update={"rank": 4, "alpha": 8, **options})
    return replace(learner, config=learner.config.model_copy(update={"lora": lora}))


def with_adapter(learner: Learner, *, trained: bool = True, **options: Any) -> Learner:
    """Return the learner with an adapter; a trained one's B is no longer zero."""
    learner = begin_adapter(with_lora(learner, **options), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in learner.model.named_parameters():
            if trained and "lora_B" in name:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return learner


def adapted(learner: Learner, how: str) -> tuple[Learner, Learner]:
    """Return what measures, and the same with an adapter that autograd can derive.

    `unmerged`: a trained adapter. `merged`: it was added to the weights. `none`: the model as it was. The last two are
    measured with a virtual adapter, whose twin is a real one with the same A and with B = 0.
    """
    if how == "unmerged":
        trained = with_adapter(learner, dropout=0.1)
        return trained, trained
    small = with_lora(learner)
    plain = merge_adapter(with_adapter(small)) if how == "merged" else small
    # PEFT changes modules in place, so the twin needs weights of its own.
    return plain, with_adapter(plain.with_model(deepcopy(plain.model)), trained=False)


def share_factors(virtual: dict[str, Any], twin: Learner) -> None:
    """Give the twin's fresh adapter the virtual one's A."""
    with torch.no_grad():
        for name, own in virtual.items():
            layer, _, inner = name.partition(".")
            module = decoder_blocks(twin.model)[int(layer)].get_submodule(inner)
            module.lora_A["default"].weight.copy_(own.down_RI)
            module.scaling["default"] = own.scale
