"""Testing the model: greedy answers to all items, and the next row of the skill matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from adaptinf.data import Evaluation
from adaptinf.data.predictions import LENGTH, predictions_table
from adaptinf.errors import ModelError
from adaptinf.evaluation.answering import Answerer, AnswerWork, Plan, ServedWork, Server, Unit
from adaptinf.evaluation.engines import HF, VLLM
from adaptinf.evaluation.identity import digest_rows, item_digest
from adaptinf.evaluation.kept import ANSWERS_FILE, Answer, KeptAnswers, answers_key
from adaptinf.evaluation.skills import (
    SkillTest,
    extend_matrix,
    refused_lines,
    rejected_lines,
    remarks_on_tests,
    score_answers,
    without_refused,
)
from adaptinf.executors import Executor, LocalExecutor, Work, Workers, named_losses, watched
from adaptinf.models.decoding import SHORT, WAYS
from adaptinf.models.loading import Learner
from adaptinf.models.recipe import LearnerRecipe, check_can_travel
from adaptinf.progress import Bar, Progress, Silent, in_one
from adaptinf.storage.tables import Columns, text_array
from adaptinf.words import counted, shortened

MANY_CUT = 0.1
"""A larger share of a skill's answers that end at `max_new_tokens` is reported: they are judged by their beginnings."""


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
    engine: str = HF,
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
        engine: what generates, as `evaluation_engine`; vLLM needs a recipe, and starts its own processes.

    Raises:
        ModelError: as `generate`.
    """
    progress = progress or Silent()
    answered = generate(learner, tests, progress, executor=executor, out=out, engine=engine)
    asked = digest_rows(previous, tests, step=step)
    is_short = max(test.config.max_new_tokens for test in tests) < SHORT
    for line in [*refused_lines(tests, answered.refused), *_notes_on(answered.info, previous, is_short=is_short)]:
        progress.note(line)
    tests = without_refused(tests, answered.refused)
    answers = [answer for answer in answered.answers if answer.text is not None]
    table, remarks = _table(tests, answers), remarks_on_tests(tests, [str(answer.text) for answer in answers])
    lines = [f"tests of {skill}: {'; '.join(found)}" for skill, found in remarks.items()]
    for line in [*lines, *cut_lines(tests, table)]:
        progress.note(line)
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
            **answered.info,
            **({"remarks": remarks} if remarks else {}),
        },
    )


def _table(tests: Sequence[SkillTest], answers: Sequence[Answer]) -> Columns:
    """Return the predictions of all items, which are answered in their order."""
    items = [item_digest(item, test) for test in tests for item in test.items]
    scored = score_answers(tests, [str(answer.text) for answer in answers])
    texts = {
        "item": items,
        "prompt": [answer.prompt for answer in answers],
        "stop": [answer.stop for answer in answers],
    }
    return predictions_table({**scored, **{name: text_array(column) for name, column in texts.items()}})


def _notes_on(info: dict[str, Any], previous: Evaluation | None, *, is_short: bool) -> list[str]:
    """Return what a user should know about how answers were generated, unless it was so in the evaluation before.

    Args:
        info: as `Plan.info`.
        previous: the newest evaluation before; None: there is none.
        is_short: no answer is long enough for whole batches to be slower.
    """
    before: dict[str, Any] = {} if previous is None else previous.info
    lines = []
    if info["overridden"] and info["overridden"] != before.get("overridden"):
        settings = shortened(", ".join(f"{name}={value}" for name, value in info["overridden"].items()))
        lines.append(f"answers are greedy: {settings} of the model's generation settings set aside")
    is_plain = info["decoding"] in {way.name for way in WAYS if not way.leaves and (not way.together or not is_short)}
    if is_plain and info["decoding"] != before.get("decoding"):
        lines.append(
            f"answers are generated by plain generate, {info['decoding']}: with this model's cache or positions, "
            "faster ways give other answers"
        )
    return lines


def cut_lines(tests: Sequence[SkillTest], table: Columns) -> list[str]:
    """Return a line for each skill of whose answers more than MANY_CUT end at `max_new_tokens`."""
    lines = []
    for test in tests:
        own = table["stop"][table["skill"] == test.config.skill]
        num_cut = int((own == LENGTH).sum())
        if num_cut > MANY_CUT * len(own):
            lines.append(
                f"tests of {test.config.skill}: {num_cut:,} of {counted(len(own), 'answer')} cut off at "
                f"max_new_tokens={test.config.max_new_tokens} and judged by their beginnings; is it too small?"
            )
    return lines


class Answered(NamedTuple):
    """What a model answers to N items."""

    answers: tuple[Answer, ...]
    """Its answers, in the order of the tests."""
    stops_at: tuple[str, ...]
    """The tokens at which an answer ends: every one that training teaches as an end, and the model's own."""
    info: dict[str, Any]
    """How they were generated, as `Plan.info`."""

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The text of each answer; None: the item cannot be asked."""
        return tuple(answer.text for answer in self.answers)

    @property
    def refused(self) -> dict[int, str]:
        """Number of each item that cannot be asked -> why."""
        return {answer.row: answer.reason for answer in self.answers if answer.text is None}


def generate(
    learner: Learner | LearnerRecipe,
    tests: Sequence[SkillTest],
    progress: Progress | None = None,
    *,
    executor: Executor | None = None,
    out: Path | None = None,
    engine: str = HF,
) -> Answered:
    """Return the model's greedy answer to every item, in the order of the tests; arguments as in `evaluate`.

    Raises:
        ModelError: one item alone does not fit into the device's memory; or the learner is loaded, and the executor
            or vLLM works in other processes; or vLLM does not serve the model.
    """
    progress, executor = progress or Silent(), executor or LocalExecutor()
    if engine == VLLM:
        executor = LocalExecutor()
    elif not executor.is_in_process:
        check_can_travel(learner, executor)
    with ExitStack() as stack:
        scratch = out or Path(stack.enter_context(TemporaryDirectory()))
        work = _served_work(learner, tests, out, scratch) if engine == VLLM else _work(learner, tests, out)
        return _answered(work, tests, progress, executor)


def _answered(
    work: AnswerWork | ServedWork, tests: Sequence[SkillTest], progress: Progress, executor: Executor
) -> Answered:
    counter = _Counter()
    if executor.is_in_process:
        work = replace(work, on_answer=counter.advance)
    opened: Work[Answerer | Server] = work
    with ExitStack() as stack:
        with in_one(progress, "load the model", 1, "models"):
            workers = stack.enter_context(executor.open(opened))
            (plan,) = workers.map(_plan, [None])
        known: dict[int, Answer] = {}
        if work.answers_file is not None:
            digests = [item_digest(item, test) for test in tests for item in test.items]
            key = answers_key(plan.model, digests, [unit.rows for unit in plan.units])
            known = KeptAnswers(work.answers_file, key).read()
        if known:
            progress.note(f"{len(known):,} of {counted(len(work.items), 'test item')} were answered before")
        with progress.stage("evaluate", len(work.items) - len(known), unit="items") as bar:
            counter.bar = bar
            with named_losses(lambda unit: [work.items[row].id for row in unit.rows]):
                found = known | {answer.row: answer for answer in _new(plan.units, known, workers, bar, executor)}
    return Answered(tuple(found[row] for row in range(len(work.items))), plan.stops_at, plan.info)


def _work(learner: Learner | LearnerRecipe, tests: Sequence[SkillTest], out: Path | None) -> AnswerWork:
    return AnswerWork(
        learner=learner,
        items=tuple(item for test in tests for item in test.items),
        limits=tuple(test.config.max_new_tokens for test in tests for _ in test.items),
        skills=tuple(number for number, test in enumerate(tests) for _ in test.items),
        num_threads=torch.get_num_threads(),
        answers_file=None if out is None else out / ANSWERS_FILE,
    )


def _served_work(
    learner: Learner | LearnerRecipe, tests: Sequence[SkillTest], out: Path | None, scratch: Path
) -> ServedWork:
    if isinstance(learner, Learner):
        raise ModelError(f"{VLLM} works in other processes, which cannot be sent a loaded model; give a LearnerRecipe")
    plain = _work(learner, tests, out)
    return ServedWork(
        learner=learner, items=plain.items, limits=plain.limits, answers_file=plain.answers_file, scratch=scratch
    )


def _plan(tool: Answerer | Server, _: None) -> Plan:
    return tool.plan(None)


def _answer(tool: Answerer | Server, unit: Unit) -> list[Answer]:
    return tool.answer(unit)


class _Counter:
    """Counts answers on a bar that is not there yet when the work is opened."""

    bar: Bar

    def advance(self, count: int) -> None:
        self.bar.advance(count)


def _new(
    units: Sequence[Unit], known: dict[int, Answer], workers: Workers[Any], bar: Bar, executor: Executor
) -> Iterator[Answer]:
    """Yield the answers that are not known, unit by unit; from other processes they are counted when a unit is done."""
    waiting = [
        unit._replace(known=frozenset(known) & frozenset(unit.rows))
        for unit in units
        if not known.keys() >= set(unit.rows)
    ]
    for answers in watched(workers, _answer, waiting, bar):
        if not executor.is_in_process:
            bar.advance(len(answers))
        yield from answers
