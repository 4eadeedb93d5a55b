"""Answers of a model of transformers, in any worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from adaptinf.data import Sample
from adaptinf.data.predictions import END, LENGTH
from adaptinf.errors import AdaptError, ModelError
from adaptinf.evaluation.answering.units import Plan, Unit, families_of, units_of
from adaptinf.evaluation.kept import Answer, keep_answer
from adaptinf.images import Unopened
from adaptinf.models.chat import placed, prompt_text, prompts_of_usable, traits_of
from adaptinf.models.decoding import (
    ALONE,
    WAYS,
    NearTies,
    Prompted,
    Task,
    Watch,
    Way,
    decode,
    find_way,
    stretches_at,
)
from adaptinf.models.greedy import greedy_settings, overridden
from adaptinf.models.lengths import auto_batch_tokens, token_lengths
from adaptinf.models.loading import Learner
from adaptinf.models.memory import is_out_of_memory, release
from adaptinf.models.mixing import kinds_of
from adaptinf.models.recipe import LearnerRecipe, made
from adaptinf.models.refusals import failure
from adaptinf.models.threads import torch_threads

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AnswerWork:
    """Answering test items with one model."""

    learner: Learner | LearnerRecipe
    """The model to test: loaded, within this process, or how to make it."""
    items: tuple[Sample, ...]
    """N test items."""
    limits: tuple[int, ...]
    """Longest answer to each, in tokens."""
    skills: tuple[int, ...] = ()
    """Number of the skill of each."""
    num_threads: int
    """Torch's threads in each worker, as the last bits depend on them."""
    answers_file: Path | None = None
    """Where each answer is kept when it has ended; None: nowhere."""
    on_answer: Callable[[int], None] | None = None
    """Called with 1 for each answer, within this process; None: nobody waits for it."""

    @contextmanager
    def open(self) -> Iterator[Answerer]:
        """Load the model unless it is loaded."""
        with torch_threads(self.num_threads):
            yield Answerer(learner=made(self.learner), work=self)


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A loaded model, and the items that it answers."""

    learner: Learner
    """The model."""
    work: AnswerWork
    """The items."""

    def plan(self, _: None) -> Plan:
        """Return how all items are answered; the way of decoding is found by a trial with some of them."""
        learner, items = self.learner, self.work.items
        lengths, kinds = token_lengths(items, learner), kinds_of(learner, items)
        way = ALONE if self._stretches(lengths) else self._way(tried_rows(items, lengths, kinds))
        units = units_of(
            items,
            self.work.limits,
            lengths,
            families_of(items, self.work.skills),
            way=way,
            batch_tokens=auto_batch_tokens(learner.device),
            kinds=kinds,
        )
        ends = tuple(learner.tokenizer.decode([token]) for token in sorted(traits_of(learner).ends))
        return Plan(
            units=tuple(units),
            stops_at=ends,
            model=f"{learner.fingerprint} {ends} {learner.processor.chat_template} {way.name}",
            info={"engine": "hf", "decoding": way.name, "overridden": overridden(learner.model)},
        )

    def answer(self, unit: Unit) -> list[Answer]:
        """Return the answers to the items of a unit that are not known; each is kept on disk when it has ended.

        They are those of an undisturbed call: where the items that are known could have changed a token, as it was
        chosen by a near tie, the unit is answered again as a whole.
        """
        if not unit.known:
            return [self._kept(answer) for answer in self._answers(unit, unit.rows)]
        ties = NearTies(self.learner.model.dtype)
        left = [row for row in unit.rows if row not in unit.known]
        found: dict[int, Answer] = {}
        if unit.way.leaves:
            for answer in self._answers(unit, left, ties):
                if answer.row not in ties.numbers:
                    found[answer.row] = self._kept(answer)
        if open_rows := set(left) - found.keys():
            logger.debug("a unit of %d items is answered again for %d of them", len(unit.rows), len(open_rows))
            for answer in self._answers(unit, unit.rows):
                if answer.row in open_rows:
                    found[answer.row] = self._kept(answer)
        return list(found.values())

    def _kept(self, answer: Answer) -> Answer:
        if self.work.answers_file is not None:
            keep_answer(self.work.answers_file, answer)
        if self.work.on_answer is not None:
            self.work.on_answer(1)
        return answer

    def _stretches(self, lengths: np.ndarray) -> bool:
        """Tell whether a long item would change the positions of others in its batch, at its end if not before."""
        most = stretches_at(self.learner.model)
        # Estimates hold the right answers as well, so they are rather too long.
        return most is not None and bool((lengths + np.array(self.work.limits, dtype=np.int64) > most).any())

    def _way(self, rows: Sequence[int]) -> Way:
        with torch.inference_mode(), greedy_settings(self.learner.model):
            return find_way(_Asking(learner=self.learner, work=self.work).task(WAYS[0], width=len(rows)), rows)

    def _answers(self, unit: Unit, rows: Sequence[int], watch: Watch | None = None) -> Iterator[Answer]:
        """Yield the answers to some rows of a unit; where that fails, to their halves, so that one ends no run."""
        done: set[int] = set()
        try:
            for answer in answers_of(self.learner, self.work, unit, rows, watch):
                done.add(answer.row)
                yield answer
            return
        except AdaptError:
            raise
        except Exception as error:  # a model is a program of its authors: it can raise anything
            if len(rows) == 1:
                yield self._failed(rows[0], error)
                return
            logger.debug("a batch of %d items failed", len(rows), exc_info=True)
        release()
        left = [row for row in rows if row not in done]
        for half in (left[: len(left) // 2], left[len(left) // 2 :]):
            if half:
                yield from self._answers(unit, half, watch)

    def _failed(self, row: int, error: Exception) -> Answer:
        if is_out_of_memory(error):
            raise ModelError(
                f"test item {self.work.items[row].id} alone does not fit into the device's memory with "
                f"max_new_tokens={self.work.limits[row]}; lower that of its skill, or leave the item out"
            ) from error
        return Answer(row, None, failure(error))


def tried_rows(items: Sequence[Sample], lengths: np.ndarray, kinds: np.ndarray | None) -> list[int]:
    """Return the rows that decoding is tried with: the longest, the shortest, that with most images, and a middle one.

    They are of one kind, the most frequent one, so that they may share a batch.
    """
    rows = np.arange(len(items))
    if kinds is not None and len(items):
        values, counts = np.unique(kinds, return_counts=True)
        rows = np.flatnonzero(kinds == values[counts.argmax()])
    if not len(rows):
        return []
    by_length = rows[np.argsort(lengths[rows], kind="stable")]
    most = max(rows.tolist(), key=lambda row: len(items[row].images))
    return list(dict.fromkeys([int(by_length[-1]), int(by_length[0]), most, int(by_length[len(rows) // 2])]))


def answers_of(
    learner: Learner, work: AnswerWork, unit: Unit, rows: Sequence[int], watch: Watch | None
) -> Iterator[Answer]:
    """Yield the answers to some rows of a unit as they end."""
    asking = _Asking(learner=learner, work=work)
    task = asking.task(unit.way, width=unit.width, families=dict(zip(unit.rows, unit.families, strict=True)))
    with torch.inference_mode(), greedy_settings(learner.model):
        for written in decode(task, rows, watch):
            yield from asking.take_refused()
            # An end token need not be flagged as special, so decoding alone would leave its name in the answer.
            text = learner.tokenizer.decode(written.tokens, skip_special_tokens=True).strip()
            stop = END if written.is_ended else LENGTH
            yield Answer(written.number, text, "", prompt_text(learner, work.items[written.number]), stop)
    yield from asking.take_refused()


@dataclass(kw_only=True)
class _Asking:
    """Gives items as prompts, and remembers which ones cannot be asked."""

    learner: Learner
    work: AnswerWork
    refused: dict[int, str] = field(default_factory=dict)

    def task(self, way: Way, *, width: int, families: dict[int, int] | None = None) -> Task:
        """Return the task of answering the items."""
        traits = traits_of(self.learner)
        return Task(
            model=self.learner.model,
            prompts=self._prompts,
            limits=dict(enumerate(self.work.limits)),
            ends=traits.ends,
            pad=self.learner.tokenizer.pad_token_id,
            width=width,
            way=way,
            families=families or {},
            images=traits.image_tokens,
        )

    def _prompts(self, rows: Sequence[int]) -> Prompted:
        asked = [self.work.items[row] for row in rows]
        prompts = prompts_of_usable(self.learner, asked, [Unopened(item.stored_images) for item in asked])
        self.refused |= {rows[number]: reason for number, reason in prompts.refused.items()}
        if prompts.inputs is None:
            return Prompted((), None)
        return Prompted(tuple(rows[number] for number in prompts.kept), placed(prompts.inputs, self.learner))

    def take_refused(self) -> Iterator[Answer]:
        """Yield what could not be asked since the last call."""
        while self.refused:
            row = next(iter(self.refused))
            yield Answer(row, None, self.refused.pop(row))
