"""What a model cannot use of a dataset, found without its weights and without looking at an image.

Of each conversation: whether the template takes it, whether its labels are its answers, how much of them `max_length`
cuts off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from adaptinf.data import Sample
from adaptinf.errors import DataError, ModelError
from adaptinf.models.chat import Labelled, Unusable, labelled, traits_of
from adaptinf.models.lengths import ImageTokens, blocks_of
from adaptinf.models.loading import Learner
from adaptinf.models.refusals import NO_ANSWER, InARow, check_share, summary
from adaptinf.words import counted

BLOCK = 256
"""Samples that are looked at together."""
FIRST = 8
"""If none of so many first samples can be used, the model does not fit, and the rest is not looked at."""
MAX_UNKNOWN = 0.01
"""A larger share of unknown tokens in the answers of a dataset is worth a warning."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """One sample as a model reads it."""

    id: str
    """Its id."""
    reason: str | None = None
    """Why the model cannot use it; None: it can."""
    num_tokens: int = 0
    """Tokens of all of it, images included."""
    num_answer_tokens: int = 0
    """Tokens of its answers that carry a loss, end tokens included."""
    num_lost: int = 0
    """Those that `max_length` cuts off."""
    num_unknown: int = 0
    """Unknown tokens among them: what the tokenizer has no token for is not learnt."""
    last_answer: int = 0
    """Tokens up to the end of its last answer: a `max_length` of that many cuts no answer."""
    is_merged: bool = False
    """Whether turns of one role were merged, because the template refuses them otherwise."""
    has_end: bool = False
    """Whether its last answer ends with an end token."""


@dataclass(kw_only=True)
class Survey:
    """What a model makes of a dataset."""

    rows: int = 0
    """Samples that were looked at."""
    refused: dict[str, str] = field(default_factory=dict)
    """Id of each sample that template or tokenizer refuse, or whose labels would not be its answers -> why."""
    without_answer: list[str] = field(default_factory=list)
    """Ids of the samples of which `max_length` leaves no token of an answer."""
    shortened: list[str] = field(default_factory=list)
    """Ids of the samples that lose a part of their answers to `max_length`."""
    merged: list[str] = field(default_factory=list)
    """Ids of the samples of which turns of one role were merged."""
    without_end: list[str] = field(default_factory=list)
    """Ids of the samples whose last answer has no end token: the model does not learn to stop there."""
    answer_tokens: int = 0
    """Tokens of all answers."""
    lost_tokens: int = 0
    """Those that `max_length` cuts off."""
    unknown_tokens: int = 0
    """Unknown tokens in the answers."""
    with_unknown: list[str] = field(default_factory=list)
    """Ids of the samples that have some."""
    fitting_length: int = 0
    """The smallest `max_length` that cuts no answer."""

    @property
    def unusable(self) -> dict[str, str]:
        """Id of each sample that cannot be trained on -> why, by id."""
        return dict(sorted({**self.refused, **dict.fromkeys(self.without_answer, NO_ANSWER)}.items()))

    @property
    def unknown_share(self) -> float:
        """Share of unknown tokens in the answers."""
        return self.unknown_tokens / self.answer_tokens if self.answer_tokens else 0.0

    @property
    def has_many_unknown(self) -> bool:
        """Whether the share of unknown tokens is worth a warning."""
        return self.unknown_share > MAX_UNKNOWN

    def add(self, read: Read) -> None:
        """Count one sample."""
        self.rows += 1
        if read.reason is not None:
            self.refused[read.id] = read.reason
            return
        self.answer_tokens += read.num_answer_tokens
        self.lost_tokens += read.num_lost
        self.unknown_tokens += read.num_unknown
        self.fitting_length = max(self.fitting_length, read.last_answer)
        lost = self.without_answer if read.num_lost == read.num_answer_tokens else self.shortened
        for holds, names in (
            (bool(read.num_lost), lost),
            (read.is_merged, self.merged),
            (not read.has_end, self.without_end),
            (bool(read.num_unknown), self.with_unknown),
        ):
            if holds:
                names.append(read.id)

    def lines(self, max_length: int) -> list[str]:
        """Return what a user has to know, one line each; none where every sample can be used as it is."""
        rows = counted(self.rows, "sample")
        cut = f"lose their whole answer at model.max_length={max_length}, {len(self.shortened):,} a part of it"
        found = {
            f"{len(self.refused):,} of {rows} cannot be used: {summary(self.refused)}": self.refused,
            f"{len(self.without_answer):,} of {rows} {cut}; {self.fitting_length:,} would cut no answer": (
                self.without_answer or self.shortened
            ),
            f"{len(self.merged):,} of {rows} have turns of one role that were merged": self.merged,
            f"the last answer of {len(self.without_end):,} of {rows} has no end token: stopping is not learnt there": (
                self.without_end
            ),
            f"{100 * self.unknown_share:.1f} % of the answers' tokens are unknown to the tokenizer and not learnt": (
                self.has_many_unknown
            ),
        }
        return [line for line, holds in found.items() if holds]

    def counts(self) -> dict[str, Any]:
        """Return the numbers, for JSON: of a list of ids its length."""
        return {name: len(value) if isinstance(value, list | dict) else value for name, value in asdict(self).items()}


def read_samples(learner: Learner, samples: Iterable[Sample]) -> Iterator[Read]:
    """Yield each sample as a model reads it, a block at a time; images are looked at for their sizes only.

    Raises:
        ModelError: the chat template fits no conversation.
    """
    image_tokens = ImageTokens(learner)
    for block in blocks_of(samples, BLOCK):
        for sample, found in zip(block, labelled(learner, block), strict=True):
            yield _read(learner, sample, found, image_tokens)


def _read(learner: Learner, sample: Sample, found: Labelled | Unusable, image_tokens: ImageTokens) -> Read:
    if isinstance(found, Unusable):
        return Read(id=sample.id, reason=str(found))
    try:
        grown = [image_tokens(image) for image in sample.stored_images]
    except (DataError, ModelError) as error:
        return Read(id=sample.id, reason=str(error))
    traits, limit = traits_of(learner), learner.config.max_length
    places = _tags(found.ids, traits.image_tokens, len(grown))
    ends = [_moved(own.stop, places, grown) for own in found.answers]
    starts = [_moved(own.start, places, grown) for own in found.answers]
    loses_image = _moved(places[-1] + 1, places, grown) > limit if places else False
    lost = sum(
        stop - start if loses_image else max(0, stop - max(start, limit))
        for start, stop in zip(starts, ends, strict=True)
    )
    unknown = learner.tokenizer.unk_token_id
    answers = [token for own in found.answers for token in found.ids[own.start : own.stop]]
    return Read(
        id=sample.id,
        num_tokens=_moved(len(found.ids), places, grown),
        num_answer_tokens=len(answers),
        num_lost=lost,
        num_unknown=0 if unknown is None else answers.count(unknown),
        last_answer=max(ends, default=0),
        is_merged=len(found.sample.messages) != len(sample.messages),
        has_end=bool(answers) and answers[-1] in traits.ends,
    )


def _tags(ids: Sequence[int], images: frozenset[int], num_images: int) -> list[int]:
    """Return the numbers of the tokens that stand for the images of a text; at its front where that cannot be told."""
    found = [number for number, token in enumerate(ids) if token in images]
    return found if len(found) == num_images else [0] * num_images


def _moved(number: int, places: Sequence[int], grown: Sequence[int]) -> int:
    """Return the place of a token once each image before it has all of its tokens."""
    return number + sum(size - 1 for place, size in zip(places, grown, strict=True) if place < number)


def survey(learner: Learner, samples: Sequence[Sample]) -> Survey:
    """Return what a model makes of a dataset, however many of its samples cannot be used.

    Args:
        learner: the model, or its reader (`load_reader`).
        samples: the dataset.

    Raises:
        ModelError: the chat template fits no conversation.
    """
    found = Survey()
    for read in read_samples(learner, samples):
        found.add(read)
    return found


def check(
    learner: Learner, samples: Sequence[Sample], stage: str, *, on_read: Callable[[], None] = lambda: None
) -> Survey:
    """Return what a model makes of a dataset of which it must be able to use the most.

    Args:
        learner: the model, or its reader (`load_reader`).
        samples: the dataset.
        stage: what is being done, for messages.
        on_read: called after each sample.

    Raises:
        ModelError: none of the first samples can be used, or too many of all, or too many in a row.
    """
    found, in_a_row, first = Survey(), InARow(stage), min(FIRST, len(samples))
    for read in read_samples(learner, samples):
        found.add(read)
        on_read()
        in_a_row.add({} if read.reason is None else {read.id: read.reason}, int(read.reason is None))
        if found.rows == first == len(found.refused):
            raise ModelError(
                f"{stage}: none of the first {counted(first, 'sample')} can be used with {learner.config.path}; "
                f"{read.id}: {read.reason}"
            )
    check_share(found.refused, found.rows, stage)
    return found
