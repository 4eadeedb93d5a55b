"""The micro-batches of an optimiser step whose rows of text are packed; rows with images stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from adaptinf.data import Sample
from adaptinf.models.chat import IGNORED, encode_usable
from adaptinf.models.loading import Learner
from adaptinf.training.collator import Collated, collate, empty_batch, outcomes_of
from adaptinf.training.left_out import Outcome
from adaptinf.training.packing import Form, Packing, Row, first_fit, packed, rows_of, shared_out
from adaptinf.training.parts import PARTS, joined


class Texts(NamedTuple):
    """The rows of text of an optimiser step."""

    rows: list[Row]
    """Those that have an answer."""
    outcomes: dict[str, Outcome]
    """Id -> what became of each sample."""


@dataclass(frozen=True, kw_only=True)
class PackedMicroBatch:
    """Makes one micro-batch."""

    learner: Learner
    """The model."""
    form: Form
    """How it takes packed rows."""
    seeing: Sequence[Sample]
    """Its samples with images."""
    bins: Sequence[Sequence[Row]]
    """Its rows of text, by sequence."""
    outcomes: Mapping[str, Outcome]
    """What became of other samples, that is told with this micro-batch."""

    def __call__(self) -> Collated:
        """Return the micro-batch; one with images and text has parts."""
        images = collate(self.learner, list(self.seeing)) if self.seeing else None
        parts = [] if images is None else images.inputs.get(PARTS, [images.inputs])
        if self.bins:
            rows, bins = numbered(self.bins)
            parts = [*parts, packed(rows, bins, self.form, self.learner.tokenizer.pad_token_id).inputs]
        told = {} if images is None else images.outcomes
        return Collated(inputs=joined(parts or [empty_batch(self.learner)]), outcomes={**self.outcomes, **told})

    @property
    def places(self) -> int:
        """Return the tokens of its sequences, padding included."""
        lengths = [sum(len(row["labels"]) for row in rows) for rows in self.bins]
        return sum(lengths) if self.form.is_flat else max(lengths, default=0) * len(lengths)


def numbered(bins: Sequence[Sequence[Row]]) -> tuple[list[Row], list[list[int]]]:
    """Return the rows of bins in one list, and the bins by their numbers in it."""
    rows = [row for own in bins for row in own]
    numbers = iter(range(len(rows)))
    return rows, [[next(numbers) for _ in own] for own in bins]


def encoded_texts(learner: Learner, samples: Sequence[Sample], at_once: int) -> Texts:
    """Return the rows of samples without images, encoded so many at once.

    Raises:
        ModelError: the chat template fits no conversation, or the processor gives what cannot be packed.
    """
    texts = Texts([], {})
    for start in range(0, len(samples), at_once):
        own = samples[start : start + at_once]
        attempt = encode_usable(learner, own, [()] * len(own))
        texts.outcomes.update(outcomes_of(own, attempt))
        if attempt.batch is not None:
            texts.rows.extend(row for row in rows_of(attempt.batch) if bool((row["labels"][1:] != IGNORED).any()))
    return texts


def packed_step(
    learner: Learner, texts: Texts, seeing: Sequence[Sample], form: Form, *, most: int, num_ranks: int
) -> list[PackedMicroBatch]:
    """Return what makes the micro-batches of a step, at least one; the first tells what became of its rows of text.

    Args:
        learner: the model.
        texts: the step's rows of text.
        seeing: its samples with images, in the order in which they are trained on.
        form: how the model takes packed rows.
        most: sequences of a micro-batch at most; a row with images is one.
        num_ranks: of the training.
    """
    bins = [[texts.rows[row] for row in rows] for rows in first_fit([len(row["labels"]) for row in texts.rows])]
    number = len(seeing)
    cuts = shared_out(number + len(bins), most, num_ranks) or [slice(0, 0)]
    return [
        PackedMicroBatch(
            learner=learner,
            form=form,
            seeing=seeing[cut],
            bins=bins[max(0, cut.start - number) : max(0, cut.stop - number)],
            outcomes={} if cut.start else texts.outcomes,
        )
        for cut in cuts
    ]


def packing_of(micro_batches: Sequence[PackedMicroBatch]) -> Packing:
    """Return what packing made of a step."""
    rows = [row for one in micro_batches for own in one.bins for row in own]
    return Packing(
        packed=len(rows),
        unpacked=sum(len(one.seeing) for one in micro_batches),
        sequences=sum(len(one.bins) for one in micro_batches),
        tokens=sum(len(row["labels"]) for row in rows),
        places=sum(one.places for one in micro_batches),
    )
