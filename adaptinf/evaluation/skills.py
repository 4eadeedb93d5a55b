"""The held-out test items of each skill."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adaptinf.config import DataConfig, DatasetConfig, SkillConfig
from adaptinf.data import Evaluation, Rejected, Sample
from adaptinf.data.predictions import answers_text
from adaptinf.errors import ConfigError, DataError, ModelError
from adaptinf.evaluation.allowed import item_of
from adaptinf.evaluation.answers import answer_problem, remarks_on, scores_of
from adaptinf.evaluation.answers.judge import Judge
from adaptinf.formats.answered import ANSWERS
from adaptinf.formats.reading import broken_file, read_entry
from adaptinf.sources import source_problem
from adaptinf.storage.paths import why_no_file
from adaptinf.storage.tables import text_array
from adaptinf.words import counted

BASE = "base"
"""`introduced_at: base` says that the model knew the skill before the stream began."""


@dataclass(frozen=True, kw_only=True)
class SkillTest:
    """One skill's items."""

    config: SkillConfig
    """Name, metric, longest answer."""
    items: tuple[Sample, ...]
    """Conversations that end with the right answer."""
    rejected: tuple[Rejected, ...]
    """Rows that cannot be used; they are counted and shown, and never tested."""
    asked: frozenset[str] = frozenset()
    """Further keys of the rows that the metric looks at, such as `choices`: they decide scores as answers do."""


def read_tests(skills: Sequence[SkillConfig], data: DataConfig | None = None) -> list[SkillTest]:
    """Return the test items of every skill that has some, read with the limits of `data` (None: the defaults).

    Raises:
        DataError: a file cannot be read, or holds no usable item.
        ConfigError: a metric is unknown.
    """
    return [_read_test(skill, data or DataConfig()) for skill in skills if skill.command is None]


def _read_test(skill: SkillConfig, data: DataConfig) -> SkillTest:
    _ = metric_of(skill)
    # The same sample of rows for every seed, so that runs with different seeds are tested on the same items.
    rows = list(read_entry(skill, data, source=skill.skill, seed=0, are_tests=True))
    if broken := [row for row in rows if isinstance(row, Rejected) and row.ends_file]:
        raise DataError(f"evaluation of {skill.skill}: {broken_file(broken[0])}; correct the file")
    items, rejected, asked = [], [], set[str]()
    for number, row in enumerate(rows):
        problem = None if isinstance(row, Rejected) else item_problem(row, skill.metric, skill.metric_options, asked)
        if isinstance(row, Rejected):
            rejected.append(row)
        elif problem:
            rejected.append(Rejected(file=skill.path, row=number, reason=problem, id=row.id))
        else:
            items.append(row)
    if not items:
        first = f"; the first of {len(rejected)} rejected rows: {rejected[0].reason}" if rejected else ""
        raise DataError(f"evaluation of {skill.skill}: {skill.path} has no usable item{first}")
    return SkillTest(config=skill, items=tuple(items), rejected=tuple(rejected), asked=frozenset(asked - {ANSWERS}))


def metric_of(skill: SkillConfig) -> Judge:
    """Return the metric of a skill with its options.

    Raises:
        ConfigError: there is no such metric, or it has no such option.
    """
    try:
        return Judge.named(skill.metric, skill.metric_options)
    except ConfigError as error:
        raise ConfigError(f"evaluation of {skill.skill}: {error}") from None


# Any: what a metric's options take is between it and its caller.
def item_problem(
    item: Sample, metric: str, options: Mapping[str, Any] | None = None, asked: set[str] | None = None
) -> str | None:
    """Return why a sample cannot be a test item under a metric; None: it can. `asked` as in `item_of`."""
    if item.messages[-1]["role"] != "assistant":
        return "the last turn is not the assistant's, so there is no right answer"
    return answer_problem(metric, item_of(item, asked=asked), **(options or {}))


def introductions(
    skills: Sequence[SkillConfig],
    stream: Sequence[DatasetConfig],
    first_steps: dict[str, int],
    *,
    withdrawn: Container[str] = (),
) -> np.ndarray:
    """Return the step that introduces each skill (S int64).

    As configured; otherwise the first dataset whose samples carry the skill, or 0 if no sample carries any skill. A
    dataset that has not arrived, or is `withdrawn`, counts as the next one, so that the skill has nothing to forget;
    so does the dataset of a skill that no sample carries while samples carry others.
    """
    # A withdrawn dataset keeps its number, but its name no longer refers to it.
    names = ["" if dataset.name in withdrawn else dataset.name for dataset in stream]
    return np.array([_introduction(skill, names, first_steps) for skill in skills], dtype=np.int64)


def _introduction(skill: SkillConfig, names: list[str], first_steps: dict[str, int]) -> int:
    where = skill.introduced_at
    if where is None:
        return first_steps.get(skill.skill, len(names) if first_steps else 0)
    if where == BASE or where == "-1":
        return -1
    if where.isdigit():
        is_withdrawn = int(where) < len(names) and not names[int(where)]
        return len(names) if is_withdrawn else int(where)
    return names.index(where) if where in names else len(names)


def frequencies(skills: Sequence[SkillConfig], counts: dict[str, int]) -> np.ndarray:
    """Return each skill's share of the samples that carry one of these skills (S float64); NaN when none does."""
    numbers = np.array([counts.get(skill.skill, 0) for skill in skills], dtype=np.float64)
    return numbers / numbers.sum() if numbers.sum() > 0 else np.full(len(skills), np.nan)


def extend_matrix(
    previous: Evaluation | None, skills: Sequence[str], row: np.ndarray, *, step: int, field: str = "matrix"
) -> np.ndarray:
    """Return the skill matrix after a step (step+2 x S; -1 is the base model), its last row being `row`.

    Where earlier rows were not tested they are NaN: for skills that came later, and in steps without a test. `field` is
    that of the evaluation: its `matrix`, or another one of the same shape, such as `tolerant`.
    """
    older = np.full((step + 1, len(skills)), np.nan)
    if previous is not None:
        for column, skill in enumerate(skills):
            if skill in previous.skills:
                older[: len(previous.matrix), column] = getattr(previous, field)[:, previous.skills.index(skill)]
    return np.vstack([older, row])


def score_answers(tests: Sequence[SkillTest], predictions: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the table of predictions: skill, id, prediction, answer, answers, score, tolerant.

    `predictions` are in the order of the tests.
    """
    skills = [test.config.skill for test in tests for _ in test.items]
    samples = [item for test in tests for item in test.items]
    items = [item_of(sample, prediction) for sample, prediction in zip(samples, predictions, strict=True)]
    found, first = [], 0
    for test in tests:
        own = items[first : first + len(test.items)]
        found.append(scores_of(test.config.metric, own, **test.config.metric_options))
        first += len(own)
    return {
        "skill": text_array(skills),
        "id": text_array([sample.id for sample in samples]),
        "prediction": text_array(predictions),
        "answer": text_array([item.answers[0] for item in items]),
        "answers": text_array([answers_text(list(item.answers)) for item in items]),
        "score": np.concatenate([scores.strict for scores in found]),
        "tolerant": np.concatenate([scores.tolerant for scores in found]),
    }


def remarks_on_tests(tests: Sequence[SkillTest], predictions: Sequence[str]) -> dict[str, list[str]]:
    """Return skill -> what its metric finds odd about predictions, each with a count; skills with none are left out.

    `predictions` are in the order of the tests.
    """
    found, first = {}, 0
    for test in tests:
        texts = predictions[first : first + len(test.items)]
        first += len(test.items)
        items = [item_of(sample, text) for sample, text in zip(test.items, texts, strict=True)]
        if remarks := remarks_on(test.config.metric, items, **test.config.metric_options):
            found[test.config.skill] = remarks
    return found


def without_refused(tests: Sequence[SkillTest], refused: Mapping[int, str]) -> list[SkillTest]:
    """Return the tests without the items that a model cannot be asked; these are among the rejected rows.

    Args:
        tests: skills with their items.
        refused: number of an item among those of all skills -> why.

    Raises:
        ModelError: no item of a skill is left.
    """
    left, first = [], 0
    for test in tests:
        reasons = {number: refused[first + number] for number in range(len(test.items)) if first + number in refused}
        first += len(test.items)
        if len(reasons) == len(test.items):
            raise ModelError(
                f"evaluation of {test.config.skill}: the model cannot be asked any of its "
                f"{counted(len(reasons), 'item')}; {test.items[0].id}: {reasons[0]}"
            )
        items = tuple(item for number, item in enumerate(test.items) if number not in reasons)
        own = tuple(
            Rejected(file=test.config.path, row=-1, id=test.items[number].id, reason=reason)
            for number, reason in reasons.items()
        )
        left.append(replace(test, items=items, rejected=(*test.rejected, *own)))
    return left


def refused_lines(tests: Sequence[SkillTest], refused: Mapping[int, str]) -> list[str]:
    """Return a line for each skill with items that a model cannot be asked; `refused` as in `without_refused`."""
    lines, first = [], 0
    for test in tests:
        numbers = [number for number in range(len(test.items)) if first + number in refused]
        if numbers:
            example = f"{test.items[numbers[0]].id}: {refused[first + numbers[0]]}"
            total = counted(len(test.items), "item")
            lines.append(f"tests of {test.config.skill}: {len(numbers):,} of {total} cannot be asked, {example}")
        first += len(test.items)
    return lines


def rejected_lines(tests: Sequence[SkillTest]) -> list[dict[str, Any]]:
    """Return the records of rejected test rows."""
    return [vars(row) for test in tests for row in test.rejected]


def unknown_introductions(skills: Sequence[SkillConfig], stream: Sequence[DatasetConfig]) -> list[str]:
    """Return a line for each skill whose `introduced_at` is no dataset of the complete stream."""
    known = [*(dataset.name for dataset in stream), BASE, "-1", *map(str, range(len(stream)))]
    return [
        f"evaluation of {skill.skill}: introduced_at={skill.introduced_at!r} is no dataset of the stream; "
        f"known: {', '.join(known)}"
        for skill in skills
        if skill.introduced_at is not None and skill.introduced_at not in known
    ]


def missing_files(skills: Sequence[SkillConfig]) -> list[str]:
    """Return a line for each test whose rows cannot be found, and for each image folder that does not exist."""
    rows = [(skill.skill, source_problem(skill)) for skill in skills if skill.command is None]
    folders = [(skill.skill, folder) for skill in skills for folder in skill.image_folders]
    images = [(name, f"{folder} {why_no_file(Path(folder))}") for name, folder in folders if not Path(folder).is_dir()]
    return [f"evaluation of {name}: {problem}" for name, problem in [*rows, *images] if problem]
