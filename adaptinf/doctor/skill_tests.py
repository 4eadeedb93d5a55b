"""The tests of a stream: how many items a file has, which rows are none, and whether a command can be started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adaptinf import registry
from adaptinf.config import RunConfig, SkillConfig
from adaptinf.doctor.machine import Check
from adaptinf.errors import DataError
from adaptinf.evaluation.harness.installed import installed_version
from adaptinf.evaluation.harness.tests import harness_problems, read_harnesses
from adaptinf.evaluation.skills import read_tests
from adaptinf.words import counted


def check_tests(config: RunConfig) -> Iterator[Check]:
    """Yield one check per skill: a test file without a usable item is bad, as is a command that cannot be started."""
    with registry.scope(config.plugins):
        for skill in config.evaluation:
            name = f"tests of {skill.skill}"
            if skill.command is not None:
                yield _harness_check(name, config, skill)
                continue
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


def _harness_check(name: str, config: RunConfig, skill: SkillConfig) -> Check:
    """Return whether the command that tests a skill can be started."""
    if problems := harness_problems(config.model_copy(update={"evaluation": [skill]})):
        return Check(name, problems[0], False, "correct the command")
    (test,) = read_harnesses([skill])
    program = test.command.words[0]
    version = installed_version(program, Path(config.commands_folder or "."))
    return Check(name, f"by {program}" + (f", lmms-eval {version}" if version else ""), True)
