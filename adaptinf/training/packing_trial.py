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
from adaptinf.models.dropout import without_dropout
from adaptinf.models.kernels import attention_of
from adaptinf.models.loading import Learner
from adaptinf.models.passes import ROUNDING, uncut
from adaptinf.models.samples import trial_sample
from adaptinf.models.structure import in_mode
from adaptinf.models.trial import Finding
from adaptinf.training.packing import POSITIONS, Form, Packed, Row, packed, rows_of
from adaptinf.words import one_line, shortened

NUM_WORDS = (9, 2, 40, 5)
"""Of the answers of the rows of the trial."""
BINS = ((0, 1, 2), (3,))
"""The rows of each sequence of the trial; the second one is padded."""
ROUNDING_TIMES = 3.0
"""Packed rows may differ from rows alone by so many times what is rounding, and what rows of a padded batch do."""
LARGEST = 0.3
"""Relative difference above which no rounding is believed."""
FORMS = (Form(), Form(num_axes=4))
"""Ways in which models take packed rows; the second is that of models whose positions have three axes."""
FLAT_FORMS = tuple(form._replace(is_flat=True) for form in FORMS)
"""The same for kernels that take sequences of any lengths; others would need a mask of all rows by all rows."""

WAY_OUT = "set training.packing: false"


Place = tuple[int, slice]
"""Of a row in a batch: its sequence, and its tokens there."""


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


def _try(learner: Learner, form: Form) -> None:
    """Try one form.

    Raises:
        Unfit: rows are not independent of each other.
    """
    samples = [trial_sample(number) for number in NUM_WORDS]
    try:
        padded = encode(uncut(learner), samples, [()] * len(samples)).to(learner)
    except ModelError as error:
        raise Unfit("it takes no conversation without an image") from error
    rows = rows_of(padded)
    batch = packed(rows, BINS, form, learner.tokenizer.pad_token_id)
    together = _pass(learner, batch.inputs)
    _check_independent(batch, together)
    _check_far_positions(learner, rows, form)
    beside = _pass(learner, {**padded.inputs, "labels": _without_first(padded.labels)})
    _check_as_alone(learner, rows, batch, (together, beside))
    _check_own_loss(together, beside, _bound(learner))


def _check_independent(batch: Packed, together: Pass) -> None:
    for number, span in batch.spans:
        slope = _slope(batch.inputs["labels"][number, span], together, (number, span))
        own = slope[number, span].clone()
        slope[number, span] = 0
        if slope.any() or not own.any():
            raise Unfit(
                "the answer of one row depends on tokens of another (recurrent states, convolutions over tokens, or a "
                "mask that does not follow position_ids)"
            )


def _check_as_alone(learner: Learner, rows: Sequence[Row], batch: Packed, passes: tuple[Pass, Pass]) -> None:
    """Compare each row with itself alone; `passes` are of the packed batch and of a padded one, which has noise too."""
    order = [row for own in BINS for row in own]
    for row, (number, span) in zip(order, batch.spans, strict=True):
        alone = _pass(learner, {name: value[None] for name, value in rows[row].items()})
        whole, labels = slice(0, span.stop - span.start), rows[row]["labels"]
        expected, found, noisy = (
            (one.logits[place], _slope(labels, one, place)[place])
            for one, place in zip((alone, *passes), ((0, whole), (number, span), (row, whole)), strict=True)
        )
        for own, here, beside in zip(expected, found, noisy, strict=True):
            bound = ROUNDING_TIMES * (_bound(learner) + _difference(own, beside))
            if not _difference(own, here) <= min(bound, LARGEST):
                raise Unfit("a row has other logits, or another gradient, than alone (positions of the model's own)")


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
    if not _difference(near, other) <= ROUNDING_TIMES * _bound(learner):
        raise Unfit("a long row changes the positions of the rows beside it (longrope or dynamic positions)")


def _longest(learner: Learner) -> int:
    """Return the length of the longest row; positions that are learnt end with the model's, rotated ones do not."""
    settings = learner.model.config.get_text_config()
    limit = getattr(settings, "max_position_embeddings", None)
    if getattr(settings, "rope_parameters", None) or not isinstance(limit, int):
        return learner.config.max_length
    return min(learner.config.max_length, limit)


def _check_own_loss(together: Pass, beside: Pass, bound: float) -> None:
    """Compare with the same rows in a padded batch: some models add a loss that counts padding."""
    if not abs(together.loss - beside.loss) <= bound * abs(beside.loss):
        raise Unfit("the loss that it computes depends on the padding beside its rows")


def _without_first(labels: Tensor) -> Tensor:
    """Return labels of a batch in which no row's first token has one, as in a packed batch."""
    labels = labels.clone()
    labels[:, 0] = IGNORED
    return labels


def _bound(learner: Learner) -> float:
    """Return the largest relative difference that is rounding in the type of the weights."""
    return ROUNDING.get(learner.model.dtype, 1e-2)


def _difference(one: Tensor, other: Tensor) -> float:
    """Return how far a reading is from another of the same shape, relative to the first."""
    one, other = one.detach().float(), other.detach().float()
    return float((one - other).norm() / one.norm().clamp_min(torch.finfo(torch.float32).tiny))


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


def _slope(labels: Tensor, found: Pass, place: Place) -> Tensor:
    """Return the gradient of the summed loss of one row, with such labels, by the embeddings of the whole batch."""
    loss = nn.functional.cross_entropy(found.logits[place][:-1], labels[1:], ignore_index=IGNORED, reduction="sum")
    (slope,) = torch.autograd.grad(loss, found.embeddings, retain_graph=True)
    return slope
