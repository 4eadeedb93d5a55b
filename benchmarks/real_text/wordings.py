"""How a task is asked for: many short instructions, of which the last are for tests alone.

Tasks that wordings.yaml names have their own; any other has the first sentence of its definition, in several forms.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from adaptinf.demo.phrasing import ask
from adaptinf.demo.sources import Split as Part
from benchmarks.real_text.tasks import Task

FILE = Path(__file__).parent / "wordings.yaml"
CHOICE = re.compile(r"\{([^{}]*)\}")
"""Alternatives within a wording."""
NUMBER = re.compile(r"task0*(\d+)(?:_|$)")
"""The number in a task's name."""
DEFINITION_WORDS = 30
"""Words of a definition's first sentence that are used; a longer one is cut."""
BEFORE = 0.6
"""Share of the instructions that stand before the input, not after it."""
FORMS = (
    "{}", "Task: {}", "Instruction: {}", "Please do the following. {}", "This is what to do: {}", "Do this now: {}",
    "What you should do: {}", "Your job: {}",
)  # fmt: skip
"""What is made of a definition's first sentence; the last two are for tests alone."""


def wordings_of(task: Task) -> tuple[str, ...]:
    """Return the instructions of a task, the two that are never trained on last."""
    own = _written().get(_number(task.name))
    if own is not None:
        training, held_out = own
        return (*itertools.chain.from_iterable(map(expanded, training)), *held_out)
    first = re.split(r"(?<=[.?!])\s", task.definition, maxsplit=1)[0].split()
    sentence = " ".join(first[:DEFINITION_WORDS])
    return tuple(form.replace("{}", sentence) for form in FORMS)


def expanded(wording: str) -> list[str]:
    """Return every text that a wording with alternatives stands for."""
    parts = CHOICE.split(wording)
    options = [[part] if position % 2 == 0 else part.split("|") for position, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*options)]


def question(rng: np.random.Generator, wordings: Sequence[str], text: str, part: Part) -> str:
    """Return an input with an instruction before or after it, in words that belong to the part of the data."""
    # Braces would be taken for slots.
    escaped = tuple(wording.replace("{", "{{").replace("}", "}}") for wording in wordings)
    said = ask(rng, escaped, {}, part, hashed=False)
    return f"{said}\n{text}" if rng.random() < BEFORE else f"{text}\n{said}"


def _number(name: str) -> int:
    """Return the number in a task's name; -1 where there is none."""
    found = NUMBER.match(name)
    return int(found[1]) if found else -1


@lru_cache(maxsize=1)
def _written() -> Mapping[int, tuple[list[str], list[str]]]:
    """Return task number -> its wordings in training and those held out."""
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {_number(name): (value["training"], value["held_out"]) for name, value in found.items()}
