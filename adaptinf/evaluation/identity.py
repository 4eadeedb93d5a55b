"""What the tests of a skill ask: a hash of every item, whatever its file, and where an earlier evaluation differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from adaptinf.data import Evaluation, Sample
from adaptinf.evaluation.allowed import allowed_answers, right_answer
from adaptinf.evaluation.skills import SkillTest
from adaptinf.images.contents import ImageContent
from adaptinf.storage.digests import file_digest
from adaptinf.words import counted

NOT_ASKED = -1
"""Row number of a rejected item that the model cannot be asked, as opposed to one that cannot be read."""
OTHER = "other"
"""Stands for the digest of tests that an earlier version did not record, where they are known to differ."""


@dataclass(frozen=True, kw_only=True)
class ChangedTest:
    """A skill whose tests are not those of the newest evaluation."""

    skill: str
    """The skill."""
    path: str
    """Its test file now."""
    was: str
    """Digest of the former tests, and the number of their items, as text."""
    now: str
    """The same of the tests as they are now."""
    first: str
    """The first item that differs, in a phrase."""


def item_digest(item: Sample, test: SkillTest) -> str:
    """Return sixteen hex digits of all that decides the score of an item; images count by their content."""
    turns = [[turn["role"], [[block["type"], block["text"]] for block in turn["content"]]] for turn in item.messages]
    images = list(map(_image_digest, item.images))
    asked = [item.id, turns, [dict(tool) for tool in item.tools], images]
    # Nothing is added where the last turn alone is right and no option is set, as digests of earlier versions have it.
    answers, options = list(allowed_answers(item)), test.config.metric_options
    more = [] if answers == [right_answer(item)] and not options else [answers, options]
    seen = {key: item.meta[key] for key in test.asked if key in item.meta}
    value = [*asked, test.config.metric, test.config.max_new_tokens, *more, *([seen] if seen else [])]
    return xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True, default=str).encode())


def _image_digest(image: Path | ImageContent) -> str:
    """Return the hash of an image's bytes, wherever they are."""
    return file_digest(image) if isinstance(image, Path) else xxhash.xxh3_128_hexdigest(image.read())


def item_digests(test: SkillTest) -> dict[str, str]:
    """Return id -> digest of each item of a skill."""
    return {item.id: item_digest(item, test) for item in test.items}


def digest_of(items: Mapping[str, str]) -> str:
    """Return sixteen hex digits of all items of a skill, in any order."""
    return xxhash.xxh3_64_hexdigest("".join(sorted(items.values())).encode())


def changed_tests(tests: Sequence[SkillTest], newest: Evaluation | None) -> list[ChangedTest]:
    """Return the skills that the newest evaluation has tested with other items; tests that came later are no change.

    An evaluation of an earlier version has no digests: there, ids and right answers are compared.
    """
    known = [test for test in tests if newest is not None and test.config.skill in newest.skills]
    found = [_change(test, newest) for test in known if newest is not None]
    return [change for change in found if change is not None]


def _change(test: SkillTest, newest: Evaluation) -> ChangedTest | None:
    skill = test.config.skill
    before, items = newest.last_digest(skill), item_digests(test)
    now = digest_of(items)
    former = _items_of(newest, skill)
    if before == now or (before is None and not _answers_differ(test, newest)):
        return None
    num_before = int(newest.num_items[newest.skills.index(skill)])
    return ChangedTest(
        skill=skill,
        path=test.config.path,
        was=f"{before or OTHER} ({counted(num_before, 'item')})",
        now=f"{now} ({counted(len(items), 'item')})",
        first=_first_difference(former, items) if former else _first_answer(test, newest),
    )


def _items_of(evaluation: Evaluation, skill: str) -> dict[str, str]:
    """Return id -> digest of the items that an evaluation has asked; empty where it has no digests."""
    table = evaluation.predictions
    rows = [row for row, name in enumerate(table["skill"]) if name == skill and table["item"][row]]
    return {str(table["id"][row]): str(table["item"][row]) for row in rows}


def _first_difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    for id in sorted({*before, *now}):
        if id not in now:
            return f"{id} is gone"
        if id not in before:
            return f"{id} is new"
        if before[id] != now[id]:
            return f"{id} differs"
    return "an item that the model could not be asked differs"


def _answers(evaluation: Evaluation, skill: str) -> dict[str, str]:
    table = evaluation.predictions
    rows = [row for row, name in enumerate(table["skill"]) if name == skill]
    return {str(table["id"][row]): str(table["answer"][row]) for row in rows}


def _answers_differ(test: SkillTest, evaluation: Evaluation) -> bool:
    """Tell whether ids or right answers are known to differ from those of an evaluation."""
    return bool(_answers(evaluation, test.config.skill)) and _first_answer(test, evaluation) != ""


def _first_answer(test: SkillTest, evaluation: Evaluation) -> str:
    """Return the first item whose answer differs, in a phrase; empty where none does."""
    before = _answers(evaluation, test.config.skill)
    now = {item.id: right_answer(item) for item in test.items}
    not_asked = {line.get("id") for line in evaluation.rejected if line.get("row") == NOT_ASKED}
    for id in sorted({*before, *now}):
        if id not in now:
            return f"{id} is gone"
        if id not in before and id not in not_asked:
            return f"{id} is new"
        if id in before and before[id] != now[id]:
            return f"the answer of {id} differs"
    return ""


def digest_rows(previous: Evaluation | None, tests: Sequence[SkillTest], *, step: int) -> dict[str, list[str | None]]:
    """Return skill -> digest of its tests in each row of the skill matrix after a step; None: not tested, or unknown.

    Args:
        previous: the newest evaluation before; None: there is none.
        tests: what is asked now, all items of it.
        step: after which the model is tested; -1: the base model.
    """
    found: dict[str, list[str | None]] = {}
    for test in tests:
        skill = test.config.skill
        older: list[str | None] = [None] * (step + 1)
        if previous is not None and skill in previous.skills:
            before = previous.digests(skill)
            older[: len(before)] = before
            if previous.last_digest(skill) is None and _answers_differ(test, previous):
                older[len(previous.matrix) - 1] = OTHER
        found[skill] = [*older, digest_of(item_digests(test))]
    return found
