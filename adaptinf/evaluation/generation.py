"""Testing the model: answers by greedy decoding in batches, and the next row of the skill matrix."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from adaptinf.data import Evaluation, Sample
from adaptinf.data.predictions import predictions_table
from adaptinf.errors import AdaptError, ModelError
from adaptinf.evaluation.allowed import right_answer
from adaptinf.evaluation.identity import digest_rows, item_digest
from adaptinf.evaluation.kept import ANSWERS_FILE, KeptAnswers, answers_key
from adaptinf.evaluation.skills import (
    SkillTest,
    extend_matrix,
    refused_lines,
    rejected_lines,
    remarks_on_tests,
    score_answers,
    without_refused,
)
from adaptinf.executors import Executor, LocalExecutor, Workers
from adaptinf.images import Unopened
from adaptinf.models.chat import placed, prompts_of_usable, traits_of
from adaptinf.models.greedy import greedy_settings
from adaptinf.models.lengths import auto_batch_tokens, batches_in_order, token_lengths
from adaptinf.models.loading import Learner
from adaptinf.models.memory import is_out_of_memory, release
from adaptinf.models.mixing import kinds_of
from adaptinf.models.recipe import LearnerRecipe, check_can_travel, made
from adaptinf.models.refusals import failure
from adaptinf.models.threads import torch_threads
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.storage.tables import text_array

logger = logging.getLogger(__name__)


def evaluate(
    learner: Learner | LearnerRecipe,
    tests: Sequence[SkillTest],
    *,
    step: int,
    introduced_at: np.ndarray,
    frequency: np.ndarray,
    previous: Evaluation | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    out: Path | None = None,
) -> Evaluation:
    """Return the skill matrix with one more row, and the predictions behind that row.

    Args:
        learner: the model to test, loaded or as a recipe, which other processes need.
        tests: S skills with their items.
        step: after which the model is tested; -1: the base model.
        introduced_at: S steps, as in `Evaluation`.
        frequency: S shares of the stream, as in `Evaluation`.
        previous: the newest evaluation before; None: there is none.
        executor: where answers are generated; None: this process.
        progress: where to report.
        out: folder where answers are kept until all are there, so that a second call goes on; None: nowhere.

    Raises:
        ModelError: as `generate`.
    """
    items = [item for test in tests for item in test.items]
    with (progress or Silent()).stage("evaluate", len(items), unit="items") as bar:
        answered = generate(learner, tests, bar, executor=executor, out=out)
    asked = digest_rows(previous, tests, step=step)
    for line in refused_lines(tests, answered.refused):
        (progress or Silent()).note(line)
    tests = without_refused(tests, answered.refused)
    predictions = [text for text in answered.texts if text is not None]
    digests = [item_digest(item, test) for test in tests for item in test.items]
    table = predictions_table({**score_answers(tests, predictions), "item": text_array(digests)})
    remarks = remarks_on_tests(tests, predictions)
    for skill, lines in remarks.items():
        (progress or Silent()).note(f"tests of {skill}: {'; '.join(lines)}")
    skills = tuple(test.config.skill for test in tests)
    if out is not None:
        (out / ANSWERS_FILE).unlink(missing_ok=True)
    row, tolerant = (
        np.array([table[name][table["skill"] == skill].mean() for skill in skills]) for name in ("score", "tolerant")
    )
    return Evaluation(
        skills=skills,
        introduced_at=introduced_at,
        matrix=extend_matrix(previous, skills, row, step=step),
        tolerant=extend_matrix(previous, skills, tolerant, step=step, field="tolerant"),
        metrics=tuple(test.config.metric_text for test in tests),
        num_items=np.array([len(test.items) for test in tests], dtype=np.int64),
        frequency=frequency,
        predictions=table,
        rejected=tuple(rejected_lines(tests)),
        info={
            "stops_at": list(answered.stops_at),
            "tests": asked,
            **({"remarks": remarks} if remarks else {}),
        },
    )


class Answered(NamedTuple):
    """What a model answers to N items."""

    texts: tuple[str | None, ...]
    """Its answers, in the order of the tests; None: the item cannot be asked."""
    refused: dict[int, str]
    """Number of each item that cannot be asked -> why."""
    stops_at: tuple[str, ...]
    """The tokens at which an answer ends: every one that training teaches as an end, and the model's own."""


def generate(
    learner: Learner | LearnerRecipe,
    tests: Sequence[SkillTest],
    bar: Bar,
    *,
    executor: Executor | None = None,
    out: Path | None = None,
) -> Answered:
    """Return the model's greedy answer to every item, in the order of the tests; `out` as in `evaluate`.

    Raises:
        ModelError: one item alone does not fit into the device's memory; or the learner is loaded, and the executor
            works in other processes.
    """
    executor = executor or LocalExecutor()
    if not executor.is_in_process:
        check_can_travel(learner, executor)
    items = [item for test in tests for item in test.items]
    limits = [test.config.max_new_tokens for test in tests for _ in test.items]
    texts: list[str | None] = [None] * len(items)
    refused: dict[int, str] = {}
    work = AnswerWork(learner=learner, items=tuple(items), limits=tuple(limits), num_threads=torch.get_num_threads())
    with executor.open(work) as workers:
        ((batches, stops_at, model),) = workers.map(Answerer.plan, [None])
        kept = None
        if out is not None:
            digests = [item_digest(item, test) for test in tests for item in test.items]
            key = answers_key(model, digests, [batch.rows for batch in batches])
            kept = KeptAnswers(out / ANSWERS_FILE, key)
        for answers in _kept_or_new(batches, kept, workers):
            for answer in answers:
                texts[answer.row] = answer.text
                if answer.text is None:
                    refused[answer.row] = answer.reason
            bar.advance(len(answers))
    return Answered(tuple(texts), refused, stops_at)


def _kept_or_new(
    batches: list[AnswerBatch], kept: KeptAnswers | None, workers: Workers[Answerer]
) -> Iterator[list[Answer]]:
    """Yield the answers of each batch: those that an earlier call kept whole, then the others, which are kept."""
    known = {} if kept is None else kept.read()
    waiting = []
    for batch in batches:
        if all(row in known for row in batch.rows):
            yield [Answer(*known[row]) for row in batch.rows]
        else:
            waiting.append(batch)
    for answers in workers.map(Answerer.answer, waiting):
        if kept is not None:
            kept.add(answers)
        yield answers


class Answer(NamedTuple):
    """What a model answers to one item."""

    row: int
    """Number of the item."""
    text: str | None
    """Its answer; None: the item cannot be asked."""
    reason: str
    """Why it cannot be asked."""


class AnswerBatch(NamedTuple):
    """Items that are answered together."""

    rows: tuple[int, ...]
    """Their numbers."""
    max_new_tokens: int
    """Longest answer that is generated."""


@dataclass(frozen=True, kw_only=True)
class AnswerWork:
    """Answering test items with one model."""

    learner: Learner | LearnerRecipe
    """The model to test: loaded, within this process, or how to make it."""
    items: tuple[Sample, ...]
    """N test items."""
    limits: tuple[int, ...]
    """Longest answer to each, in tokens."""
    num_threads: int
    """Torch's threads in each worker, as the last bits depend on them."""

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

    def plan(self, _: None) -> tuple[list[AnswerBatch], tuple[str, ...], str]:
        """Return batches of all items, the tokens that answers end at, and what distinguishes the model, as text.

        Items that need about as many new tokens share a batch, so few rows wait.
        """
        items, limits = self.work.items, np.array(self.work.limits, dtype=np.int64)
        answer_lengths = np.array([len(right_answer(item)) for item in items], dtype=np.int64)
        lengths = token_lengths(items, self.learner)
        kinds = kinds_of(self.learner, items)
        same = np.zeros(len(items), np.int64) if kinds is None else kinds
        order = np.lexsort((lengths, answer_lengths, same, limits))
        batch_tokens = auto_batch_tokens(self.learner.device)
        batches = [
            AnswerBatch(batch, limit)
            for limit, group in groupby(order.tolist(), key=lambda row: int(limits[row]))
            for batch in batches_in_order(lengths, np.array(list(group)), batch_tokens, kinds=kinds)
        ]
        ends = tuple(self.learner.tokenizer.decode([token]) for token in sorted(traits_of(self.learner).ends))
        return batches, ends, f"{self.learner.fingerprint} {ends} {self.learner.processor.chat_template}"

    def answer(self, batch: AnswerBatch) -> list[Answer]:
        """Return the answer to each item of a batch."""
        return _answers_or_split(self.learner, self.work.items, batch.rows, batch.max_new_tokens)


def _answers_or_split(
    learner: Learner, items: Sequence[Sample], rows: Sequence[int], max_new_tokens: int
) -> list[Answer]:
    """Answer the items of some rows; where that fails, their halves, so that one item does not end the run."""
    try:
        return _answers(learner, items, rows, max_new_tokens)
    except AdaptError:
        raise
    except Exception as error:  # a model is a program of its authors: it can raise anything
        if len(rows) == 1 and is_out_of_memory(error):
            raise ModelError(
                f"test item {items[rows[0]].id} alone does not fit into the device's memory with "
                f"max_new_tokens={max_new_tokens}; lower that of its skill, or leave the item out"
            ) from error
        logger.debug("a batch of %d items failed", len(rows), exc_info=True)
        if len(rows) == 1:
            return [Answer(rows[0], None, failure(error))]
    release()
    middle = len(rows) // 2
    return [
        answer
        for half in (rows[:middle], rows[middle:])
        for answer in _answers_or_split(learner, items, half, max_new_tokens)
    ]


@torch.inference_mode()
def _answers(learner: Learner, items: Sequence[Sample], rows: Sequence[int], max_new_tokens: int) -> list[Answer]:
    asked = [items[row] for row in rows]
    prompts = prompts_of_usable(learner, asked, [Unopened(item.stored_images) for item in asked])
    refused = [Answer(rows[number], None, reason) for number, reason in prompts.refused.items()]
    if prompts.inputs is None:
        return refused
    inputs, ends = placed(prompts.inputs, learner), traits_of(learner).ends
    with greedy_settings(learner.model):
        tokens = learner.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=learner.tokenizer.pad_token_id,
            eos_token_id=sorted(ends) or None,
        )
    # An end token need not be flagged as special, so decoding alone would leave its name in the answer.
    written = [
        list(takewhile(lambda token: token not in ends, row))
        for row in tokens[:, inputs["input_ids"].shape[1] :].tolist()
    ]
    texts = learner.tokenizer.batch_decode(written, skip_special_tokens=True)
    answers = [Answer(rows[number], text.strip(), "") for number, text in zip(prompts.kept, texts, strict=True)]
    return refused + answers
