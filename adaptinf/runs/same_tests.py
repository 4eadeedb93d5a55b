"""The tests of a run ask the same in all rows of its skill matrix, unless its user accepts a change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from adaptinf.data import Evaluation
from adaptinf.errors import ConfigError, StoreError
from adaptinf.evaluation.harness.changes import changed_harness
from adaptinf.evaluation.harness.reading import HarnessResult
from adaptinf.evaluation.harness.running import kept_result
from adaptinf.evaluation.harness.tests import HarnessTest, read_harnesses
from adaptinf.evaluation.identity import OTHER, ChangedTest, changed_tests
from adaptinf.evaluation.skills import SkillTest, read_tests
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.acceptance import Accepted, accepted_changes, accepting, note_accepted
from adaptinf.storage import store


def check_tests(run: Run, tests: Sequence[SkillTest]) -> None:
    """Compare the test items with those of the newest evaluation, that of the base model included.

    Raises:
        StoreError: items of a skill differ; the message has the numbers, both digests, the first such item and the
            ways out.
    """
    newest = run.newest(Evaluation)
    harnesses = [changed_harness(test, newest) for test in read_harnesses(run.settings.evaluation)]
    _refuse(run, _not_accepted(run, [*changed_tests(tests, newest), *filter(None, harnesses)]))


def check_harness(run: Run, test: HarnessTest, previous: Evaluation | None, result: HarnessResult) -> None:
    """Compare what a harness has found with the evaluation before: the same command, version and number of items.

    Raises:
        StoreError: they differ; as `check_tests`.
    """
    change = changed_harness(test, previous, result)
    _refuse(run, _not_accepted(run, [] if change is None else [change]))


def _refuse(run: Run, changed: Sequence[ChangedTest]) -> None:
    if not changed:
        return
    parts = [
        f"evaluation of {one.skill}: {one.path} does not hold the items that were tested before: {one.first}; "
        f"{one.was} then, {one.now} now"
        for one in changed
    ]
    raise StoreError(
        f"{run.folder}: {'; '.join(parts)}. Bring the former tests back, or take these as they are: "
        f"{accepting(run, 'tests')}; rows of the skill matrix before and after are then not compared"
    )


def changed_items(run: Run) -> str | None:
    """Return which tests are not those of the newest whole evaluation, nor accepted, in a phrase; None: all are.

    Raises:
        AdaptError: a test file cannot be read.
    """
    with run.plugins():
        changed = _not_accepted(run, _changes(run, _newest_whole(run)))
    return "; ".join(f"{one.path} holds other items than were tested before: {one.first}" for one in changed) or None


def _newest_whole(run: Run) -> Evaluation | None:
    for step in range(len(run.config.stream) - 1, BASE_STEP - 1, -1):
        with suppress(StoreError):
            if found := run.load(step, Evaluation):
                return found
    return None


def accept_tests(run: Run) -> Accepted | None:
    """Take the tests as they are now for the evaluations to come; None: they are those of the newest evaluation.

    The caller holds the run's lock.

    Raises:
        ConfigError: nothing has been tested yet.
        DataError: a test file cannot be read.
    """
    newest = run.newest(Evaluation)
    if newest is None:
        raise ConfigError(f"{run.folder}: no skill has been tested yet; there is nothing to accept")
    changed = _not_accepted(run, _changes(run, newest))
    if not changed:
        return None
    change = Accepted(
        what="tests",
        step=_next_tested(run),
        was={one.skill: one.was for one in changed},
        now={one.skill: one.now for one in changed},
        text="; ".join(f"{one.skill}: {one.first}" for one in changed),
    )
    note_accepted(run, change)
    return change


def _next_tested(run: Run) -> int:
    """Return the first step whose evaluation is still to come."""
    step = max(BASE_STEP + 1, run.num_finished)
    return step + run.has(step, Evaluation)


def _changes(run: Run, newest: Evaluation | None) -> list[ChangedTest]:
    """Return how tests differ from an evaluation, by what harnesses have found for the next one if they have run."""
    skills, part = run.settings.evaluation, store.part_of(run.stage_folder(_next_tested(run), Evaluation))
    harnesses = [changed_harness(test, newest, kept_result(test, part)) for test in read_harnesses(skills)]
    return [*changed_tests(read_tests(skills, run.settings.data), newest), *filter(None, harnesses)]


def _not_accepted(run: Run, changed: Sequence[ChangedTest]) -> list[ChangedTest]:
    accepted = [change for change in accepted_changes(run) if change.what == "tests"]
    return [one for one in changed if not _is_accepted(one, accepted)]


def _is_accepted(one: ChangedTest, accepted: Sequence[Accepted]) -> bool:
    """Tell whether this very change was accepted: from the tests that were to those that are."""
    pairs = [(change.was.get(one.skill), change.now.get(one.skill)) for change in accepted]
    return any(_digest(was) == _digest(one.was) and _digest(now) == _digest(one.now) for was, now in pairs)


def _digest(shown: str | None) -> str:
    return (shown or OTHER).partition(" ")[0]
