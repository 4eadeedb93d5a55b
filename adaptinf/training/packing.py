"""Rows of text one after another in one sequence, so that little of a micro-batch is padding (`training.packing`).

The positions of each row begin at 0; from that, transformers makes the attention of each row its own. A sequence is no
longer than the longest row of its optimiser step, so memory and attention do not grow.

Shapes: R rows, B sequences, S tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adaptinf.errors import ModelError
from adaptinf.models.chat import IGNORED, Encoded

POSITIONS = "position_ids"
"""Input of a model that says where in its row each token is."""
UNUSED = ("attention_mask",)
"""Inputs of a padded batch that a packed one does not have: with a mask, positions are not looked at."""

Row = Mapping[str, Tensor]
"""Inputs of one row by name, and `labels`; S each."""


class Form(NamedTuple):
    """How a model is given packed rows."""

    is_flat: bool = False
    """One sequence without padding, as kernels for sequences of any lengths take it; False: several of equal length."""
    num_axes: int = 1
    """Position of text and of time, height and width, all equal for text; 1: the position alone."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What packing made of a training's samples, those of every epoch counted."""

    packed: int = 0
    """Rows of text that shared a sequence or had one to themselves."""
    unpacked: int = 0
    """Rows with images."""
    sequences: int = 0
    """That the packed rows were put into."""
    tokens: int = 0
    """Of the packed rows."""
    places: int = 0
    """Tokens of the sequences, padding included."""

    def __add__(self, other: Packing) -> Packing:
        mine, others = asdict(self), asdict(other)
        return Packing(**{name: mine[name] + others[name] for name in mine})

    @property
    def padding_share(self) -> float:
        """Return the share of padding in the sequences."""
        return 1 - self.tokens / self.places if self.places else 0.0

    def as_json(self) -> dict[str, int | float]:
        """Return what info.json says."""
        return {
            "packed": self.packed,
            "unpacked": self.unpacked,
            "sequences": self.sequences,
            "padding_share": round(self.padding_share, 4),
        }

    def line(self) -> str:
        """Return what happened, for people."""
        return (
            f"packing: {self.packed:,} rows of text in {self.sequences:,} sequences with "
            f"{100 * self.padding_share:.1f} % padding; {self.unpacked:,} rows with images were not packed"
        )


class Packed(NamedTuple):
    """Rows that were put one after another."""

    inputs: dict[str, Tensor]
    """What the model takes, and `labels`."""
    spans: list[tuple[int, slice]]
    """Of each row in the order of the bins: its sequence, and its place in it."""


def first_fit(lengths: Sequence[int]) -> list[list[int]]:
    """Return rows in bins that hold as many tokens as the longest row; the longest rows are put in first."""
    if not len(lengths):
        return []
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    room = np.full(len(order), max(lengths))
    bins: list[list[int]] = [[] for _ in order]
    for row in order:
        place = int(np.argmax(room >= lengths[row]))
        bins[place].append(row)
        room[place] -= lengths[row]
    return [rows for rows in bins if rows]


def shared_out(num_sequences: int, most: int, num_ranks: int) -> list[slice]:
    """Return micro-batches of nearly equal size, as few as give every rank as many turns.

    Args:
        num_sequences: of an optimiser step, packed or not.
        most: sequences of a micro-batch at most.
        num_ranks: of the training.
    """
    if not num_sequences:
        return []
    turns = math.ceil(math.ceil(num_sequences / most) / num_ranks)
    number = min(num_sequences, turns * num_ranks)
    ends = [num_sequences * one // number for one in range(number + 1)]
    return [slice(start, stop) for start, stop in zip(ends, ends[1:], strict=False)]


def rows_of(batch: Encoded) -> list[Row]:
    """Return the rows of a padded batch of text, without its padding.

    Raises:
        ModelError: the processor gives something of a text that is not one number per token.
    """
    values = {**batch.inputs, "labels": batch.labels}
    odd = [name for name, value in values.items() if value.shape != batch.labels.shape]
    if odd:
        raise ModelError(
            f"training.packing: the processor gives {odd[0]} of a text, which is not one number per token; "
            "set training.packing: false"
        )
    is_token = batch.inputs["attention_mask"].bool()
    return [{name: value[row][own] for name, value in values.items()} for row, own in enumerate(is_token)]


def packed(rows: Sequence[Row], bins: Sequence[Sequence[int]], form: Form, pad: int) -> Packed:
    """Return rows as a batch with one sequence per bin; the first token of a row has no label, as nothing predicts it.

    Args:
        rows: the rows.
        bins: numbers of the rows in each sequence.
        form: how the model is given them.
        pad: id of the token that fills a sequence.
    """
    bins = [[row for rows_of_bin in bins for row in rows_of_bin]] if form.is_flat else bins
    lengths = [[len(rows[row]["labels"]) for row in own] for own in bins]
    width = max(map(sum, lengths))
    filling = {"input_ids": pad, "labels": IGNORED}
    names = [name for name in rows[bins[0][0]] if name not in UNUSED]
    inputs = {name: _joined([[rows[row][name] for row in own] for own in bins], width, filling.get(name, 0))
              for name in names}  # fmt: skip
    spans = []
    for number, own in enumerate(lengths):
        ends = np.cumsum([0, *own]).tolist()
        spans += [(number, slice(start, stop)) for start, stop in zip(ends, ends[1:], strict=False)]
    for number, span in spans:
        inputs["labels"][number, span.start] = IGNORED
    positions = torch.stack([_positions([*own, width - sum(own)]) for own in lengths]).to(inputs["labels"].device)
    inputs[POSITIONS] = positions if form.num_axes == 1 else positions.expand(form.num_axes, -1, -1)
    return Packed(inputs, spans)


def _joined(values: list[list[Tensor]], width: int, filling: int) -> Tensor:
    rows = [torch.cat(own) for own in values]
    return torch.stack([torch.nn.functional.pad(row, (0, width - len(row)), value=filling) for row in rows])


def _positions(lengths: list[int]) -> Tensor:
    return torch.cat([torch.arange(length) for length in lengths])
