"""The test files of a stream: how many items each has, and which rows are none."""

from __future__ import annotations

from collections.abc import Iterator

from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.doctor.machine import Check
from adaptinf.errors import DataError
from adaptinf.evaluation.skills import read_tests
from adaptinf.words import counted


def check_tests(config: RunConfig) -> Iterator[Check]:
    """Yield one check per skill with items: a test file without a usable item is bad, rejected rows are counted."""
    with registry.scope(config.plugins):
        for skill in (one for one in config.evaluation if one.command is None):
            name = f"tests of {skill.skill}"
            try:
                (test,) = read_tests([skill], config.data)
            except DataError as error:
                yield Check(name, str(error), False, "correct the test file")
                continue
            items, rejected = counted(len(test.items), "item"), counted(len(test.rejected), "row")
            if not test.rejected:
                yield Check(name, items, True)
                continue
            command = f"adaptinf validate {skill.path} --metric {skill.metric} lists all"
            yield Check(name, f"{items}; {rejected} rejected, the first: {test.rejected[0].reason}", True, command)
