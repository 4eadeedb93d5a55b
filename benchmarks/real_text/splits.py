"""Tests, validation items and training items of each task: by content, the same at every seed and size.

An item's place follows from a hash of its content. So a validation item of one seed is no test item of another, and
what is chosen on validation items was chosen without the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import xxhash

from adaptinf.errors import DataError
from benchmarks.real_text.content import Held, template_of
from benchmarks.real_text.tasks import Item, Task

MIN_TRAINING = 10
"""Training items that a task must have left."""
MIN_TASKS = 6
"""Tasks that a stream must have."""
EXACT_WORDS = 3
"""Words of a median answer up to which a task asks for a class or a short answer."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The items of one task, held out and trained on."""

    task: Task
    """The task, with the items that are short enough."""
    tests: tuple[Item, ...]
    """Never trained on, never chosen on."""
    validation: tuple[Item, ...]
    """Never trained on; choices are made on them."""
    training: tuple[Item, ...]
    """In the order of their hash; none is nearly a test or validation item of any task."""
    num_near: int
    """Items that were left out because they are nearly a held-out one."""

    @property
    def name(self) -> str:
        """Name of the skill."""
        return self.task.name

    @property
    def metric(self) -> str:
        """`exact` for classes and short answers, `rouge_l` for sentences."""
        lengths = sorted(len(item.answers[0].split()) for item in self.task.items)
        return "exact" if lengths[len(lengths) // 2] <= EXACT_WORDS else "rouge_l"


def split_tasks(
    tasks: Sequence[Task], is_short: Callable[[Item], bool], *, num_tests: int, num_validation: int
) -> list[Split]:
    """Return the tasks that have enough short items, split.

    Args:
        tasks: the tasks.
        is_short: whether an item is short enough.
        num_tests: test items of each task.
        num_validation: validation items of each task.

    Raises:
        DataError: fewer than MIN_TASKS have.
    """
    short = [replace(task, items=tuple(item for item in task.items if is_short(item))) for task in tasks]
    needed = num_tests + num_validation + MIN_TRAINING
    large = [task for task in short if len(task.items) >= needed]
    held = Held(frozenset().union(*(template_of(item.input for item in task.items) for task in large)))
    tests = {task.name: _take(task, held, num_tests) for task in large}
    validation = {task.name: _take(task, held, num_validation) for task in large}
    splits = [_split(task, tests[task.name], validation[task.name], held) for task in large]
    lengths = (num_tests, num_validation, MIN_TRAINING)
    kept = [
        one
        for one in splits
        if all(len(found) >= n for found, n in zip((one.tests, one.validation, one.training), lengths, strict=True))
    ]
    if len(kept) < MIN_TASKS:
        raise DataError(
            f"{len(kept)} of {len(tasks)} tasks have {needed} different items that are short enough, {MIN_TASKS} are "
            "needed; add tasks with short inputs and answers"
        )
    return kept


def _take(task: Task, held: Held, count: int) -> tuple[Item, ...]:
    """Return the next `count` items that are nearly none of the held-out ones so far, and hold them out as well."""
    found: list[Item] = []
    for item in ordered(task.items):
        if len(found) < count and not held.has_nearly(item.input):
            held.add(item.input)
            found.append(item)
    return tuple(found)


def _split(task: Task, tests: tuple[Item, ...], validation: tuple[Item, ...], held: Held) -> Split:
    own = {item.content for item in (*tests, *validation)}
    rest = [item for item in ordered(task.items) if item.content not in own]
    training = tuple(item for item in rest if not held.has_nearly(item.input))
    return Split(task=task, tests=tests, validation=validation, training=training, num_near=len(rest) - len(training))


def ordered(items: Sequence[Item]) -> list[Item]:
    """Return items in the order of a hash of their content."""
    return sorted(items, key=lambda item: (xxhash.xxh3_64_intdigest(item.content.encode()), item.content))
