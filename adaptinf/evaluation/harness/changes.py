"""Where a harness asks something else than in the rows before."""

from __future__ import annotations

from typing import Any

from adaptinf.data import Evaluation
from adaptinf.evaluation.harness.joining import RECORDS
from adaptinf.evaluation.harness.reading import HarnessResult
from adaptinf.evaluation.harness.tests import HarnessTest, tested_words
from adaptinf.evaluation.identity import OTHER, ChangedTest
from adaptinf.words import counted, shortened

SHOWN = 60
"""Characters of a former value that a message shows."""


def changed_harness(
    test: HarnessTest, newest: Evaluation | None, result: HarnessResult | None = None
) -> ChangedTest | None:
    """Return how a harness differs from the one that the newest evaluation has tested a skill with; None: it does not.

    Args:
        test: the harness.
        newest: the newest evaluation; None: there is none.
        result: what it has found now; None: it has not run yet, so that its versions and items are not known.
    """
    if newest is None or test.skill not in newest.skills:
        return None
    before, record = newest.last_digest(test.skill), newest.info.get(RECORDS, {}).get(test.skill)
    if before is None or (result is not None and result.digest(test) == before):
        return None
    asked = _asked_difference(test, record)
    found = None if result is None else _found_difference(result, record)
    if asked is None and found is None:
        return None
    num_before = int(newest.num_items[newest.skills.index(test.skill)])
    now = result.digest(test) if asked is None and result is not None else test.asked
    num_now = num_before if result is None else result.num_items
    return ChangedTest(
        skill=test.skill,
        path="the command",
        was=f"{before or OTHER} ({_items(num_before)})",
        now=f"{now} ({_items(num_now)})",
        first=asked or found or "",
    )


def _asked_difference(test: HarnessTest, record: dict[str, Any] | None) -> str | None:
    """Return how the question differs from the recorded one, in a phrase."""
    if record is None:
        return "items of a file were tested"
    if tested_words(record["command"]) != list(test.command.words):
        return f"it was {shortened(record['command'], SHOWN)!r}"
    return f"scale was {record['scale']:g}, now {test.scale:g}" if record["scale"] != test.scale else None


def _found_difference(result: HarnessResult, record: dict[str, Any] | None) -> str | None:
    """Return how the answer shows that something else was asked, in a phrase."""
    found = {
        "metric": result.metric,
        "version": result.version,
        "items": result.num_items,
        "items_digest": result.items_digest,
    }
    words = {
        "metric": "the metric was {was}, now {now}",
        "version": "the version was {was}, now {now}",
        "items": "it counted {was} items, now {now}",
        "items_digest": "its logged items differ",
    }
    for key, now in found.items():
        was = (record or {}).get(key)
        if was != now:
            shown = (shortened(str(value), SHOWN) if value not in (None, "") else "unknown" for value in (was, now))
            return words[key].format(**dict(zip(("was", "now"), shown, strict=True)))
    return None


def _items(count: int) -> str:
    return counted(count, "item") if count else "an unknown number of items"
