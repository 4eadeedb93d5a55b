"""What a run's user has accepted, one line each in accepted.jsonl: changed inputs, and steps that the gate stopped."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Literal, get_args

from adaptinf.config import HARNESS_KEYS, RunConfig
from adaptinf.errors import StoreError
from adaptinf.runs import Run
from adaptinf.runs.layout import Layout
from adaptinf.storage import store

What = Literal["base", "tests", "gate"]
"""The inputs of a run that must not change between its steps, and a step that the gate has stopped."""
ACCEPTABLE: tuple[What, ...] = get_args(What)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One accepted change."""

    what: What
    """The input that changed."""
    step: int
    """First step that works with the new one, wholly or from the stage on that it had reached."""
    was: dict[str, Any]
    """The former value: setting or skill -> digest, and what a message shows of it."""
    now: dict[str, Any]
    """The new value, likewise."""
    text: str
    """What changed, in a phrase."""

    @property
    def line(self) -> str:
        """The change and where it takes effect, in a sentence."""
        if self.what == "gate":
            return f"step {self.step}, which the gate had stopped ({self.text})"
        named = "another base model" if self.what == "base" else "other tests"
        return f"{named} from step {self.step} on ({self.text})"

    @property
    def is_of_inputs(self) -> bool:
        """Whether an input of the run has changed, so that steps before and after are not made of the same."""
        return self.what != "gate"


def accepting(run: Run, what: What) -> str:
    """Return how a changed input is accepted: the command, which reads config.yaml, after a correction of that."""
    command = f"adaptinf accept {shlex.quote(str(run.folder))} {what}"
    written, wanted = _places(Run.open(run.folder).config, what), _places(run.config, what)
    differing = [place for place, path in wanted.items() if place in written and written[place] != path]
    return f"correct {', '.join(differing)} in {run.config_file}, then {command}" if differing else command


def _places(config: RunConfig, what: What) -> dict[str, Any]:
    """Return setting -> where it says that an input lies, or which command asks for it (Any: of any setting)."""
    if what == "base":
        model = config.model
        return {
            "model.path": model.path,
            "model.adapter": model.adapter,
            "extraction.model": config.extraction.model,
        }
    tests = enumerate(config.evaluation)
    keys = ("path", "images", *HARNESS_KEYS)
    return {f"evaluation.{number}.{key}": getattr(test, key) for number, test in tests for key in keys}


def note_accepted(run: Layout, change: Accepted) -> None:
    """Record a change in accepted.jsonl, unless it is the last one there: an earlier call was killed after that."""
    if change not in accepted_changes(run)[-1:]:
        store.append_line(run.accepted_file, vars(change))


def accepted_changes(run: Layout) -> tuple[Accepted, ...]:
    """Return what the user has accepted, in order.

    Raises:
        StoreError: a record lacks one of its keys.
    """
    return tuple(_change(run, line) for line in store.read_lines(run.accepted_file))


def _change(run: Layout, line: dict[str, Any]) -> Accepted:
    try:
        if line["what"] not in ACCEPTABLE:
            raise ValueError(line["what"])
        return Accepted(
            what=line["what"],
            step=int(line["step"]),
            was=dict(line["was"]),
            now=dict(line["now"]),
            text=str(line["text"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{run.accepted_file} has a line that is no accepted change ({error!r}): {str(line)[:80]}; bring back a "
            "copy, or delete the line"
        ) from error
