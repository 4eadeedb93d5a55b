"""A sample as a model receives it: its tokens, what was cut off, and the loss of each learnt turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from adaptinf.data import Rejected, Sample
from adaptinf.doctor.inspected import Inspected, Piece, TurnLoss
from adaptinf.errors import ModelError
from adaptinf.images import Unopened
from adaptinf.models import Learner
from adaptinf.models.chat import IGNORED, Encoded, encode
from adaptinf.models.chat.turns import learnt_turns, merged
from adaptinf.models.checks import read_samples


def as_seen(learner: Learner, inspected: Inspected) -> Inspected:
    """Return what was read of a row with what the model makes of it: one forward pass.

    A sample that the model cannot use has the reason as its `problem`.
    """
    row = inspected.row
    if isinstance(row, Rejected):
        return inspected
    (found,) = read_samples(learner, [row])
    if found.reason is not None:
        return replace(inspected, problem=found.reason)
    try:
        batch = encode(learner, [row], [Unopened(row.stored_images)])
    except ModelError as error:
        return replace(inspected, problem=str(error))
    num_tokens = batch.labels.shape[1]
    return replace(
        inspected,
        pieces=tuple(_pieces(learner, batch)),
        is_cut=bool(batch.cut[0]),
        num_cut=max(0, found.num_tokens - num_tokens) if batch.cut[0] else 0,
        num_answer_cut=int(batch.lost[0]),
        losses=tuple(_losses(learner, batch, merged(row) if found.is_merged else row)),
    )


def _pieces(learner: Learner, batch: Encoded) -> Iterator[Piece]:
    """Yield stretches of tokens of one kind."""
    tokens, labels = batch.inputs["input_ids"][0].tolist(), batch.labels[0].tolist()
    kinds = [
        (label != IGNORED, token in batch.image_tokens, token) for token, label in zip(tokens, labels, strict=True)
    ]
    for (is_answer, is_image), group in groupby(kinds, key=lambda kind: kind[:2]):
        own = [token for *_, token in group]
        text = "" if is_image else learner.tokenizer.decode(own)
        yield Piece(text=text, num_tokens=len(own), is_answer=is_answer, is_image=is_image)


def _losses(learner: Learner, batch: Encoded, sample: Sample) -> Iterator[TurnLoss]:
    """Yield the mean loss of each learnt turn that has a token left."""
    stretches = _stretches(batch.labels[0])
    if not stretches or not isinstance(learner.model, torch.nn.Module):
        return
    placed = batch.to(learner)
    with torch.no_grad():
        logits = learner.model(**placed.inputs, use_cache=False).logits[0, :-1].float()
    losses = cross_entropy(logits, placed.labels[0, 1:], ignore_index=IGNORED, reduction="none").tolist()
    for turn, (start, stop) in zip(learnt_turns(sample), stretches, strict=False):
        own = losses[max(0, start - 1) : stop - 1]
        yield TurnLoss(turn, len(own), sum(own) / max(1, len(own)))


def _stretches(labels: Tensor) -> list[tuple[int, int]]:
    """Return first and last place, exclusive, of each run of labels."""
    found, start = [], 0
    for is_learnt, group in groupby((labels != IGNORED).tolist()):
        stop = start + len(list(group))
        if is_learnt:
            found.append((start, stop))
        start = stop
    return found
