"""What a harness is asked: its command, and how its result is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from adaptinf.config import RunConfig, SkillConfig
from adaptinf.errors import ConfigError
from adaptinf.outside import Command, seconds_of

PLACEHOLDERS = {
    "model": "folder or hub name of the model, without its adapter",
    "adapter": "folder of its adapter, empty where it has none",
    "merged": "folder of the model with its adapter merged, made once per step and removed afterwards",
    "output": "an empty folder for what the command writes",
    "step": "number of the step, -1 for the base model",
    "seed": "seed of the run",
}
"""Placeholder of a command -> what it stands for."""
LMMS_EVAL, JSON = "lmms_eval", "json"
"""What `reads` begins with."""


@dataclass(frozen=True, kw_only=True)
class HarnessTest:
    """One skill that a command tests."""

    config: SkillConfig
    """Its entry."""
    command: Command
    """Its command."""

    @property
    def skill(self) -> str:
        """Name of the skill."""
        return self.config.skill

    @property
    def scale(self) -> float:
        """Largest value that the score can have."""
        return 1.0 if self.config.scale is None else self.config.scale

    @property
    def timeout(self) -> float | None:
        """Seconds that one run may take; None: any."""
        return None if self.config.timeout is None else seconds_of(self.config.timeout)

    @property
    def reads(self) -> tuple[str, str]:
        """What is read, and which part of it: task and metric, or key; empty: the only one."""
        kind, _, part = (self.config.reads or "").partition(":")
        return kind, part

    @property
    def needs_merged(self) -> bool:
        """Whether the command asks for the merged model by name."""
        return "merged" in self.command.placeholders

    @property
    def asked(self) -> str:
        """Sixteen hex digits of the command's words and of how its result is read."""
        value = [list(self.command.words), self.config.reads, self.config.count, self.scale]
        return xxhash.xxh3_64_hexdigest(json.dumps(value).encode())


def read_harnesses(skills: Sequence[SkillConfig]) -> list[HarnessTest]:
    """Return the tests of those skills that a command tests.

    Raises:
        ConfigError: a command, or `reads`, is wrong.
    """
    return [_read(skill, skill.command) for skill in skills if skill.command is not None]


def tested_words(text: str) -> list[str]:
    """Return the words of a recorded command, for comparison; its text where it is no command of this version."""
    try:
        return list(Command.parse(text, place="", known=PLACEHOLDERS).words)
    except ConfigError:
        return [text]


def _read(skill: SkillConfig, text: str) -> HarnessTest:
    place = f"evaluation of {skill.skill}: command"
    command = Command.parse(text, place=place, known=PLACEHOLDERS)
    test = HarnessTest(config=skill, command=command)
    kind, part = test.reads
    if kind not in (LMMS_EVAL, JSON) or (kind == JSON and not part) or (":" in (skill.reads or "") and not part):
        raise ConfigError(
            f"evaluation of {skill.skill}: reads={skill.reads!r} is not known; write lmms_eval, "
            "lmms_eval:TASK/METRIC, or json:KEY with the key of the score (a.b for b within a)"
        )
    if skill.count is not None and kind != JSON:
        raise ConfigError(f"evaluation of {skill.skill}: count={skill.count!r} is for reads: json:KEY; leave it out")
    return test


def harness_problems(config: RunConfig) -> list[str]:
    """Return a line per thing that is wrong with the commands that test skills, before a run begins."""
    problems = []
    for skill in config.evaluation:
        try:
            (test,) = read_harnesses([skill]) or (None,)
        except ConfigError as error:
            problems.append(str(error))
            continue
        if test is not None:
            missing = test.command.program_problem(Path(config.commands_folder or "."))
            problems += [line for line in (missing, _untested_problem(test, config)) if line]
    return problems


def _untested_problem(test: HarnessTest, config: RunConfig) -> str | None:
    """Return why a command cannot test what a step has trained, in a sentence; None: it can."""
    names, place = test.command.placeholders, test.command.place
    if "output" not in names:
        return f"{place} has no {{output}}, so its results could not be found; tell it to write there"
    if not names & {"model", "adapter", "merged"}:
        return f"{place} names no model, so every step would test the same one; give it {{merged}}"
    is_continued = config.training.tune == "lora" and config.training.adapter == "continue"
    if is_continued and not names & {"adapter", "merged"}:
        return f"{place} names {{model}} without {{adapter}}, so each step would test the base model; use {{merged}}"
    return None
