"""Whether the rows of a model's batch may share a sequence, found by a trial on the model itself.

Each row must be computed as it is alone, forwards and backwards, in training mode without dropout; no gradient may
reach a token of another row. Recurrent states, convolutions over tokens, masks of a model's own, and positions that
follow from the sequence or from its longest row are found this way, whatever the model is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adaptinf.errors import ModelError
from adaptinf.models.blocks import base_model
from adaptinf.models.chat import IGNORED, encode
from adaptinf.models.kernels import attention_of
from adaptinf.models.loading import Learner
from adaptinf.models.passes import ROUNDING, is_same, uncut
from adaptinf.models.samples import trial_sample
from adaptinf.models.structure import in_mode
from adaptinf.models.trial import Finding
from adaptinf.training.packing import POSITIONS, Form, Packed, Row, packed, rows_of
from adaptinf.words import one_line, shortened

NUM_WORDS = (9, 2, 40, 5)
"""Of the answers of the rows of the trial."""
BINS = ((0, 1, 2), (3,))
"""The rows of each sequence of the trial; the second one is padded."""
ROUNDING_TIMES = 10.0
"""Packed rows are cut into other products than rows alone, so their rounding is larger than that of a mask."""
FORMS = (Form(), Form(num_axes=4))
"""Ways in which models take packed rows; the second is that of models whose positions have three axes."""
FLAT_FORMS = tuple(form._replace(is_flat=True) for form in FORMS)
"""The same for kernels that take sequences of any lengths; others would need a mask of all rows by all rows."""

WAY_OUT = "set training.packing: false"


class Unfit(Exception):  # noqa: N818  # a finding of the trial, not an error
    """Why rows may not be packed in one form."""


class Pass(NamedTuple):
    """What a forward pass gave."""

    logits: Tensor
    """B x S x V."""
    loss: float
    """As the model computes it."""
    embeddings: Tensor
    """Of the tokens, B x S x H; gradients go back to them."""


def packing_form(learner: Learner) -> Form:
    """Return how the model takes packed rows. Weights, mode and random numbers are left as they are.

    Raises:
        ModelError: it does not, with the reason.
    """
    try:
        return _form(learner)
    except Unfit as reason:
        kind = learner.model.config.model_type
        raise ModelError(
            f"training.packing: rows cannot share a sequence of {learner.config.path} (model_type {kind}): {reason}; "
            f"{WAY_OUT}"
        ) from None


def packing_finding(learner: Learner) -> Finding:
    """Return what a trial of the model says about packed rows."""
    try:
        form = _form(learner)
    except Unfit as reason:
        return Finding(name="packing", seen=str(reason), is_good=False, way_out=WAY_OUT)
    shape = "one sequence of all rows" if form.is_flat else "sequences of equal length"
    return Finding(name="packing", seen=f"rows in {shape} are computed as they are alone", is_good=True)


def _form(learner: Learner) -> Form:
    """Return the first form that fits.

    Raises:
        Unfit: none does; with the reason against the first.
    """
    is_flash = "flash" in (attention_of(learner.model) or "")
    devices = [learner.device] if learner.device.type == "cuda" else []
    reasons = []
    with torch.random.fork_rng(devices), in_mode(learner.model, is_training=True), without_dropout(learner.model):
        for form in FLAT_FORMS if is_flash else FORMS:
            try:
                _try(learner, form)
            except Unfit as reason:
                reasons.append(str(reason))
            except Exception as error:  # code of any architecture, with inputs that it may not expect
                reasons.append(f"it fails with packed rows ({shortened(one_line(error))})")
            else:
                return form
    raise Unfit(reasons[0])


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Set every probability of a dropout in a model to 0 for the block, in layers and in attributes of its modules."""
    changed = []
    for module in model.modules():
        is_layer = isinstance(module, nn.modules.dropout._DropoutNd)
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and value and ("drop" in name or (is_layer and name == "p")):
                changed.append((module, name, value))
                setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)


def _try(learner: Learner, form: Form) -> None:
    """Try one form.

    Raises:
        Unfit: rows are not independent of each other.
    """
    rows = _trial_rows(learner)
    batch = packed(rows, BINS, form, learner.tokenizer.pad_token_id)
    together = _pass(learner, batch.inputs)
    _check_independent(batch, together)
    _check_far_positions(learner, rows, form)
    _check_as_alone(learner, rows, batch, together)
    _check_own_loss(learner, together)


def _trial_rows(learner: Learner) -> list[Row]:
    samples = [trial_sample(number) for number in NUM_WORDS]
    try:
        batch = encode(uncut(learner), samples, [()] * len(samples)).to(learner)
    except ModelError as error:
        raise Unfit("it takes no conversation without an image") from error
    return rows_of(batch)


def _check_independent(batch: Packed, together: Pass) -> None:
    for number, span in batch.spans:
        slope = _slope(batch.inputs["labels"], together, number, span)
        own = slope[number, span].clone()
        slope[number, span] = 0
        if slope.any() or not own.any():
            raise Unfit(
                "the answer of one row depends on tokens of another (recurrent states, convolutions over tokens, or a "
                "mask that does not follow position_ids)"
            )


def _check_as_alone(learner: Learner, rows: Sequence[Row], batch: Packed, together: Pass) -> None:
    order = [row for own in BINS for row in own]
    for row, (number, span) in zip(order, batch.spans, strict=True):
        inputs = {name: value[None] for name, value in rows[row].items()}
        alone = _pass(learner, inputs)
        whole = slice(0, span.stop - span.start)
        slopes = (
            _slope(inputs["labels"], alone, 0, whole)[0],
            _slope(batch.inputs["labels"], together, number, span)[number, span],
        )
        readings = (alone.logits[0], together.logits[number, span])
        if not all(is_same(one, other, times=ROUNDING_TIMES) for one, other in (readings, slopes)):
            raise Unfit("a row has other logits, or another gradient, than alone (positions that are its model's own)")


def _check_far_positions(learner: Learner, rows: Sequence[Row], form: Form) -> None:
    """Move one of two equal rows, each in its sequence, as far as one can reach; the other must not notice."""
    batch = packed([rows[0], rows[0]], [(0,), (1,)], form._replace(is_flat=False), learner.tokenizer.pad_token_id)
    (_, first), (_, second) = batch.spans
    far = _longest(learner) - (second.stop - second.start)
    if far <= 0:
        return
    moved = {**batch.inputs, POSITIONS: batch.inputs[POSITIONS].clone()}
    moved[POSITIONS][..., 1, :] += far
    near, other = (_pass(learner, inputs).logits[0, first] for inputs in (batch.inputs, moved))
    if not is_same(near, other):
        raise Unfit("a long row changes the positions of the rows beside it (longrope or dynamic positions)")


def _longest(learner: Learner) -> int:
    """Return the length of the longest row; positions that are learnt end with the model's, rotated ones do not."""
    settings = learner.model.config.get_text_config()
    limit = getattr(settings, "max_position_embeddings", None)
    if getattr(settings, "rope_parameters", None) or not isinstance(limit, int):
        return learner.config.max_length
    return min(learner.config.max_length, limit)


def _check_own_loss(learner: Learner, together: Pass) -> None:
    """Compare with the same rows in a padded batch: some models add a loss that counts padding."""
    samples = [trial_sample(number) for number in NUM_WORDS]
    padded = encode(uncut(learner), samples, [()] * len(samples)).to(learner)
    labels = padded.labels.clone()
    labels[:, 0] = IGNORED
    expected = _pass(learner, {**padded.inputs, "labels": labels}).loss
    if not abs(together.loss - expected) <= ROUNDING.get(learner.model.dtype, 1e-2) * abs(expected):
        raise Unfit("the loss that it computes depends on the padding beside its rows")


def _pass(learner: Learner, inputs: dict[str, Tensor]) -> Pass:
    with _leaves(learner.model, inputs["input_ids"]) as seen:
        output = learner.model(**inputs, use_cache=False)
    if not seen:
        raise Unfit("its embeddings of tokens were not found, so it cannot be tried")
    return Pass(output.logits.float(), float(output.loss.detach()), seen[0])


@contextmanager
def _leaves(model: Any, ids: Tensor) -> Iterator[list[Tensor]]:
    """Note the embeddings of a batch of tokens, to which gradients can go back."""
    seen: list[Tensor] = []

    def hook(_: nn.Module, args: Any, output: Tensor) -> Tensor:
        if output.shape[:2] != ids.shape:
            return output
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()

    with torch.enable_grad():
        handle = base_model(model).get_input_embeddings().register_forward_hook(hook)
        try:
            yield seen
        finally:
            handle.remove()


def _slope(labels: Tensor, found: Pass, number: int, span: slice) -> Tensor:
    """Return the gradient of one row's summed loss by the embeddings of the whole batch."""
    logits, targets = found.logits[number, span][:-1], labels[number, span][1:]
    loss = nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    (slope,) = torch.autograd.grad(loss, found.embeddings, retain_graph=True)
    return slope
