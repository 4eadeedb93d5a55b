"""Testing the model: answers by greedy decoding in batches, and the next row of the skill matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from adaptinf.data import Evaluation, Sample
from adaptinf.errors import ModelError
from adaptinf.evaluation.skills import SkillTest, extend_matrix, rejected_lines, right_answer, score_answers
from adaptinf.executors import Executor, LocalExecutor
from adaptinf.images import open_image
from adaptinf.models.chat import encode_prompts, placed
from adaptinf.models.lengths import auto_batch_tokens, batches_in_order, token_lengths
from adaptinf.models.loading import Learner
from adaptinf.models.memory import is_out_of_memory, release
from adaptinf.models.recipe import LearnerRecipe, check_can_travel, made
from adaptinf.models.threads import torch_threads
from adaptinf.progress import Bar, Progress, Silent


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

    Raises:
        ModelError: as `generate`.
    """
    items = [item for test in tests for item in test.items]
    with (progress or Silent()).stage("evaluate", len(items), unit="items") as bar:
        predictions = generate(learner, tests, bar, executor=executor)
    table = score_answers(tests, predictions)
    skills = tuple(test.config.skill for test in tests)
    row = np.array([table["score"][table["skill"] == skill].mean() for skill in skills])
    return Evaluation(
        skills=skills,
        introduced_at=introduced_at,
        matrix=extend_matrix(previous, skills, row, step=step),
        num_items=np.array([len(test.items) for test in tests], dtype=np.int64),
        frequency=frequency,
        predictions=table,
        rejected=tuple(rejected_lines(tests)),
    )


def generate(
    learner: Learner | LearnerRecipe, tests: Sequence[SkillTest], bar: Bar, *, executor: Executor | None = None
) -> list[str]:
    """Return the model's greedy answer to every item, in the order of the tests.

    Raises:
        ModelError: one item alone does not fit into the device's memory; or the learner is loaded, and the executor
            works in other processes.
    """
    executor = executor or LocalExecutor()
    if not executor.is_in_process:
        check_can_travel(learner, executor)
    items = [item for test in tests for item in test.items]
    limits = [test.config.max_new_tokens for test in tests for _ in test.items]
    predictions = [""] * len(items)
    work = AnswerWork(learner=learner, items=tuple(items), limits=tuple(limits), num_threads=torch.get_num_threads())
    with executor.open(work) as workers:
        (batches,) = workers.map(Answerer.plan, [None])
        for answered in workers.map(Answerer.answer, batches):
            for row, text in answered:
                predictions[row] = text
            bar.advance(len(answered))
    return predictions


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

    def plan(self, _: None) -> list[AnswerBatch]:
        """Return batches of all items: those that need about as many new tokens share one, so few rows wait."""
        items, limits = self.work.items, np.array(self.work.limits, dtype=np.int64)
        answer_lengths = np.array([len(right_answer(item)) for item in items], dtype=np.int64)
        lengths = token_lengths(items, self.learner)
        order = np.lexsort((lengths, answer_lengths, limits))
        batch_tokens = auto_batch_tokens(self.learner.device)
        return [
            AnswerBatch(batch, limit)
            for limit, group in groupby(order.tolist(), key=lambda row: int(limits[row]))
            for batch in batches_in_order(lengths, np.array(list(group)), batch_tokens)
        ]

    def answer(self, batch: AnswerBatch) -> list[tuple[int, str]]:
        """Return the number of each item of a batch with its answer."""
        items = [self.work.items[row] for row in batch.rows]
        return list(zip(batch.rows, _answers_or_split(self.learner, items, batch.max_new_tokens), strict=True))


def _answers_or_split(learner: Learner, items: list[Sample], max_new_tokens: int) -> list[str]:
    """Answer a batch; when memory runs out, its halves."""
    try:
        return _answers(learner, items, max_new_tokens)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(items) == 1:
            raise ModelError(
                f"test item {items[0].id} alone does not fit into the device's memory with "
                f"max_new_tokens={max_new_tokens}; lower that of its skill, or leave the item out"
            ) from error
    release()
    middle = len(items) // 2
    return [
        answer
        for half in (items[:middle], items[middle:])
        for answer in _answers_or_split(learner, half, max_new_tokens)
    ]


@torch.inference_mode()
def _answers(learner: Learner, items: list[Sample], max_new_tokens: int) -> list[str]:
    images = [[open_image(path) for path in item.images] for item in items]
    inputs = placed(encode_prompts(learner, items, images), learner)
    tokens = learner.model.generate(
        **inputs, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=learner.tokenizer.pad_token_id
    )
    new_tokens = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in learner.tokenizer.batch_decode(new_tokens, skip_special_tokens=True)]
