"""The method of the authors' repository, re-implemented from its description, to compare extraction with.

Batch size 1; all logits of all tokens; a one-hot vector over the vocabulary for EL2N; every hidden state kept; a
backward pass through the adapters of all layers; the middle layer's gradients copied to one vector; a dense random
projection with signs, generated again in blocks for every few samples; a second pass with a blank image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adaptinf.data import Sample
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.chat import IGNORED, encode, placed
from adaptinf.models.loading import Learner

PROJECT_EVERY = 16
"""Samples whose gradients are projected together."""
BLOCK = 128
"""Columns of the projection in memory at once."""


class Reference:
    """Measures one sample at a time."""

    def __init__(self, learner: Learner, dim: int, *, projects: bool, seed: int = 0) -> None:
        self._learner, self._dim, self._projects, self._seed = learner, dim, projects, seed
        blocks = decoder_blocks(learner.model)
        self._middle = len(blocks) // 2
        for name, weight in learner.model.named_parameters():
            weight.requires_grad_("lora_" in name)
        self._weights = [weight for name, weight in blocks[self._middle].named_parameters() if "lora_" in name]

    def __call__(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """Return scores, embedding and vector of every sample."""
        found, waiting = [], []
        for number, sample in enumerate(samples):
            scores, gradient = self._measure(sample)
            found.append(scores)
            waiting.append(gradient)
            if self._projects and (len(waiting) == PROJECT_EVERY or number + 1 == len(samples)):
                for row, vector in zip(found[-len(waiting) :], self._project(torch.stack(waiting)), strict=True):
                    row["vector"] = vector.half()
                waiting = []
            elif not self._projects:
                waiting = []
        return found

    def _measure(self, sample: Sample) -> tuple[dict[str, Any], Tensor]:
        learner = self._learner
        batch = encode(learner, [sample], [[image.open() for image in sample.stored_images]])
        inputs = placed(batch.inputs, learner)
        labels = batch.labels.to(learner.device)
        output = learner.model(**inputs, output_hidden_states=True, use_cache=False)
        logits, answers = output.logits[0, :-1].float(), labels[0, 1:]
        is_answer = answers != IGNORED
        losses = functional.cross_entropy(logits[is_answer], answers[is_answer], reduction="none")
        learner.model.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.mean())
        gradient = torch.cat([weight.grad.flatten() for weight in self._weights if weight.grad is not None]).clone()
        with torch.no_grad():
            p = logits.softmax(-1)
            one_hot = functional.one_hot(answers[is_answer], p.shape[1])
            scores = {
                "perplexity": float(losses.exp().mean()),
                "el2n": float((p[is_answer] - one_hot).norm(dim=-1).mean()),
                "entropy": float(-(p * (p + 1e-10).log()).sum(-1).mean()),
                "grand": float(gradient.norm()),
                "embedding": output.hidden_states[self._middle][0].mean(0).cpu(),
            }
            if sample.images:
                blank = {name: value * 0 if value.is_floating_point() else value for name, value in inputs.items()}
                bare = learner.model(**blank, use_cache=False).logits[0, :-1].float()[is_answer]
                without = functional.cross_entropy(bare, answers[is_answer])
                scores["image_grounding"] = float(without.exp()) / scores["perplexity"]
        return scores, gradient.half()

    def _project(self, rows: Tensor) -> Tensor:
        generator = torch.Generator(rows.device).manual_seed(self._seed)
        blocks = []
        for _ in range(0, self._dim, BLOCK):
            signs = torch.empty(rows.shape[1], BLOCK, device=rows.device).bernoulli_(generator=generator)
            blocks.append(rows.float() @ signs.mul_(2).sub_(1))
        return torch.cat(blocks, 1)[:, : self._dim]
