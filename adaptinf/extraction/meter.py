"""One pass of a batch through the model: scores, vectors, embeddings.

Shapes: B samples, S tokens, T answer tokens of the batch, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptinf.config import ExtractionConfig
from adaptinf.config.schema.stages import FORWARD_ONLY
from adaptinf.extraction import vectors
from adaptinf.extraction.adapters import cheap_adapters
from adaptinf.extraction.batches import REMOVED, Prepared
from adaptinf.extraction.experts import Unit, units_of
from adaptinf.extraction.head import Head, Read, head_of, mean_by_sample, read_logits
from adaptinf.extraction.hooks import Trace, linears_of, traced
from adaptinf.extraction.rerun import Rerun, rerunning
from adaptinf.extraction.shortcuts import spare_last_feed_forward
from adaptinf.extraction.vectors import VectorKind
from adaptinf.extraction.vectors.interface import Passed, pooled, token_set, unit_rows
from adaptinf.extraction.vectors.neurons import Neurons, reading
from adaptinf.extraction.vectors.zeroth_order import ZerothOrder
from adaptinf.models.blocks import decoder_blocks, layer_numbers
from adaptinf.models.chat import IGNORED, Encoded
from adaptinf.models.loading import Learner
from adaptinf.models.masks import needs_mask, without_mask
from adaptinf.models.mixing import mixing_of
from adaptinf.scoring import ForwardPass


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured on one batch."""

    vectors: np.ndarray
    """B x dim float32, unit norm; zero rows for samples without answer tokens or with a vector that is not finite."""
    embeddings: np.ndarray
    """B x H float32, within the range of float16; zero rows where the embedding is not finite."""
    has_answer: np.ndarray
    """B bools: whether the sample has an answer token within `max_length`."""
    outcome: ForwardPass
    """What scorers read."""
    num_tokens: int
    """Tokens of the batch, padding included."""
    num_padding: int
    """How many of them are padding."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answer tokens of a batch, T of them."""

    positions: Tensor
    """B x S bools: the positions that predict them, one before their own."""
    sample_T: Tensor
    """Sample of each."""
    target_T: Tensor
    """Token of each."""
    count_B: Tensor
    """How many each sample has."""

    @property
    def weight_T(self) -> Tensor:
        """1 / n: the loss is the sum of the samples' means, so the gradient of a row is that of its own sample."""
        return 1.0 / self.count_B[self.sample_T]


@dataclass(frozen=True, kw_only=True)
class Meter:
    """A hooked learner, ready to measure batches."""

    learner: Learner
    """The model that measures."""
    config: ExtractionConfig
    """What to measure."""
    kind: VectorKind
    """What a vector is."""
    head: Head
    """The model's output head."""
    trace: Trace
    """What the hooks record."""
    layers: Sequence[int]
    """Target blocks, ascending."""
    middle: int
    """Block whose input is the embedding."""
    is_masked: bool
    """Whether padding must be masked; not for a causal model, whose tokens never attend to the right."""
    rerun: Rerun | None
    """Runs the upper blocks again; None where the kind of vector does not need that."""
    units: Sequence[Unit] = ()
    """What holds the fused experts that are measured."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.kind.dim

    def measure(self, prepared: Prepared) -> Measured:
        """Return everything about a batch, from one forward pass, a truncated backward and a pass without images.

        The last two only where they are needed.
        """
        assert prepared.batch is not None, "an empty batch is not measured"
        batch = prepared.batch.to(self.learner)
        answers = answers_of(batch)
        with torch.set_grad_enabled(self.kind.needs_gradient):
            read = self._forward(batch, answers)
        deltas = self._deltas(read)
        embeddings = pooled(self.trace.hidden[self.middle], token_set(self.config.embedding_tokens, batch))
        vectors, norms = self._vectors(batch, answers, deltas)
        outcome = ForwardPass(
            sample_T=answers.sample_T.cpu().numpy(),
            loss_T=read.statistics.loss_T.double().cpu().numpy(),
            entropy_T=read.statistics.entropy_T.double().cpu().numpy(),
            error_T=read.statistics.error_T.double().cpu().numpy(),
            gradient_norm_B=norms,
            loss_without_images_B=self._losses_without_images(prepared),
        )
        return Measured(
            vectors=vectors,
            embeddings=_storable(embeddings).cpu().numpy(),
            has_answer=(answers.count_B > 0).cpu().numpy(),
            outcome=outcome,
            num_tokens=batch.labels.numel(),
            num_padding=batch.labels.numel() - int(batch.inputs["attention_mask"].sum()),
        )

    def _forward(self, batch: Encoded, answers: Answers, *, with_slope: bool = True) -> Read:
        """Run the model and read its head where answers are predicted."""
        self.trace.clear(answers.positions)
        inputs = batch.inputs if self.is_masked else without_mask(batch.inputs)
        output = self.learner.model(**inputs, use_cache=False)
        assert self.trace.answers is not None, "the head ran"
        weights = answers.weight_T if with_slope and torch.is_grad_enabled() else None
        if self.head.is_plain:
            return self.head.read(self.trace.answers, answers.target_T, weights)
        return read_logits(output.logits[0], answers.target_T, weights)

    def _deltas(self, read: Read) -> dict[str, list[Tensor]]:
        """Return the gradients of the samples' losses with respect to what the target linears gave."""
        if read.gradient is None or not len(read.gradient):
            return {}
        calls = [(name, output) for name, outputs in self.trace.outputs.items() for output in outputs]
        found = torch.autograd.grad(read.outputs, [output for _, output in calls], grad_outputs=read.gradient)
        deltas: dict[str, list[Tensor]] = {name: [] for name in self.trace.outputs}
        for (name, _), delta in zip(calls, found, strict=True):
            deltas[name].append(self.trace.by_sample(delta, name))
        # The graph holds every activation above the cut, and is no longer needed.
        self.trace.outputs.clear()
        return deltas

    @torch.no_grad()
    def _vectors(
        self, batch: Encoded, answers: Answers, deltas: dict[str, list[Tensor]]
    ) -> tuple[np.ndarray, np.ndarray]:
        num_samples = len(batch.labels)
        if not len(answers.target_T):
            return np.zeros((num_samples, self.dim), np.float32), np.full(num_samples, np.nan)
        of_units = {unit.name for unit in self.units}
        passed = Passed(
            batch=batch,
            trace=self.trace,
            deltas={name: own for name, own in deltas.items() if name not in of_units},
            expert_gradients=lambda: self._expert_gradients(deltas, (num_samples, batch.labels.shape[1])),
            losses_again=lambda: self._losses_again(answers, num_samples),
        )
        vectors, norms = (rows.to(batch.labels.device) for rows in self.kind(passed))
        has_answer = answers.count_B > 0
        vectors = torch.where(has_answer[:, None], unit_rows(vectors), 0.0)
        return vectors.cpu().numpy(), torch.where(has_answer, norms, torch.nan).double().cpu().numpy()

    def _expert_gradients(
        self, deltas: dict[str, list[Tensor]], shape: tuple[int, int]
    ) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield each sample's number with its gradients of the fused experts' weights."""
        self.trace.is_paused = True
        try:
            for number in range(shape[0]):
                total: dict[str, Tensor] = {}
                for unit in self.units:
                    for call, delta in zip(self.trace.calls[unit.name], deltas[unit.name], strict=True):
                        for name, gradient in unit.gradients(call, delta, number, shape).items():
                            total[name] = total[name] + gradient if name in total else gradient
                yield number, total
        finally:
            self.trace.is_paused = False

    def _losses_again(self, answers: Answers, num_samples: int) -> Tensor:
        assert self.rerun is not None, "open_meter prepares it for kinds that rerun"
        hidden_TH = self.rerun()[answers.positions]
        losses_T = self.head.read(hidden_TH, answers.target_T, None).statistics.loss_T
        return mean_by_sample(losses_T.double(), answers.sample_T, num_samples)

    @torch.no_grad()
    def _losses_without_images(self, prepared: Prepared) -> np.ndarray:
        losses = np.full(len(prepared.rows), np.nan)
        if prepared.without_images is not None:
            bare = prepared.without_images.to(self.learner)
            answers = answers_of(bare)
            loss_T = self._forward(bare, answers).statistics.loss_T
            own = mean_by_sample(loss_T, answers.sample_T, len(prepared.with_images))
            losses[list(prepared.with_images)] = own.double().cpu().numpy()
        return losses


def _storable(embeddings_BH: Tensor) -> Tensor:
    """Return rows that float16 can hold: long ones scaled down, as only the direction is used, and zeros for NaN."""
    largest_B1 = embeddings_BH.abs().amax(1, keepdim=True)
    fitting = embeddings_BH * (torch.finfo(torch.float16).max / largest_B1).clamp(max=1.0)
    return torch.where(largest_B1.isfinite(), fitting, 0.0)


def answers_of(batch: Encoded) -> Answers:
    """Return where the answer tokens of a batch are, sample by sample."""
    # A label is predicted one position earlier.
    positions = torch.zeros_like(batch.labels, dtype=torch.bool)
    positions[:, :-1] = batch.labels[:, 1:] != IGNORED
    sample_T, place_T = positions.nonzero(as_tuple=True)
    return Answers(
        positions=positions,
        sample_T=sample_T,
        target_T=batch.labels[sample_T, place_T + 1],
        count_B=positions.sum(1),
    )


@contextmanager
def open_meter(learner: Learner, config: ExtractionConfig, *, seed: int) -> Iterator[Meter]:
    """Hook a learner for measuring; on leaving, hooks are removed and its weights trainable as before.

    A model that takes no conversation without an image is compared with blank images instead of removed ones.

    Raises:
        ConfigError: `layers` names a block that the model does not have.
        ModelError: the model has no output head, an adapter of an unknown kind or hidden states of another shape, or
            does not suit the kind of vector.
    """
    blocks = decoder_blocks(learner.model)
    layers = layer_numbers(config.layers, len(blocks))
    # Before anything runs, so that a layer of an unknown kind is refused with its name.
    linears = linears_of(learner, layers)
    units = units_of(learner, layers) if config.vector not in FORWARD_ONLY else []
    head = head_of(learner)
    kind = vectors.make(learner, config, layers, linears, head, seed, units)
    with ExitStack() as stack:
        stack.enter_context(cheap_adapters(learner.model))
        rerun = stack.enter_context(rerunning(learner, layers[0])) if isinstance(kind, ZerothOrder) else None
        middle = len(blocks) // 2
        trace = stack.enter_context(traced(learner, head, sorted({middle, *kind.watched}), layers, units))
        if isinstance(kind, Neurons):
            stack.enter_context(reading(kind, trace))
        is_masked = needs_mask(learner)
        if config.image in REMOVED and not mixing_of(learner).takes_text:
            config = config.model_copy(update={"image": "blank"})
        # The head's input is that of all tokens only where the last block computes all of them.
        whole = [*layers, *(number - 1 for number in kind.watched), *(kind.kept if isinstance(kind, Neurons) else ())]
        for hook in spare_last_feed_forward(learner, trace, whole):
            stack.callback(hook.remove)
        yield Meter(
            learner=learner,
            config=config,
            kind=kind,
            head=head,
            trace=trace,
            layers=layers,
            middle=middle,
            is_masked=is_masked,
            rerun=rerun,
            units=units,
        )
