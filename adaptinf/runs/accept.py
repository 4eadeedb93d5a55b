"""adaptinf accept: the user takes a changed base model, changed tests, or a step that the gate stopped, as it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from adaptinf.errors import ConfigError
from adaptinf.runs import Run
from adaptinf.runs.acceptance import ACCEPTABLE, Accepted, note_accepted
from adaptinf.runs.base import accept_base, unfinished_work
from adaptinf.runs.gates import GATE, digest_of, gate_at, outcome_of
from adaptinf.runs.same_tests import accept_tests
from adaptinf.words import known_names

SAME_TESTS = "tests are those of the newest evaluation, or were accepted before"


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What `accept` did."""

    change: Accepted | None
    """The change that is accepted now; None: there is none."""
    removed: tuple[Path, ...]
    """Folders of unfinished stages that were removed, as they were begun with the former input."""
    text: str
    """What happened, in one sentence."""

    def __repr__(self) -> str:
        return f"Acceptance({self.text!r})"


def accept(run: Run, what: str) -> Acceptance:
    """Take a changed input of a run as it is for the steps to come; the caller holds the run's lock (`Run.locked`).

    Raises:
        ConfigError: nothing of that name can be accepted, no step has begun, or the input is not there.
    """
    if what not in ACCEPTABLE:
        raise ConfigError(f"{what!r} cannot be accepted; {known_names(what, ACCEPTABLE)}")
    if what == GATE:
        return _accept_gate(run)
    change = accept_base(run) if what == "base" else accept_tests(run)
    if change is None:
        step, path = max(0, run.num_finished - 1), run.settings.model.path
        same = f"base model {path} is that of step {step}" if what == "base" else SAME_TESTS
        return Acceptance(change=None, removed=(), text=f"nothing to accept: the {same}")
    removed = unfinished_work(run) if what == "base" else ()
    for folder in removed:
        shutil.rmtree(folder)
    values = [f"{key}: {change.was[key]} before, {change.now[key]} now" for key in change.was]
    begun_with = f"; removed what was begun with the former one: {', '.join(map(str, removed))}" if removed else ""
    return Acceptance(change=change, removed=removed, text=f"accepted: {change.line}; {'; '.join(values)}{begun_with}")


def _accept_gate(run: Run) -> Acceptance:
    """Take the step at which the gate has stopped a run as it is.

    Raises:
        ConfigError: the gate has not stopped it.
    """
    step = run.num_finished
    gate, outcome = gate_at(run, step), outcome_of(run, step)
    if gate is None or outcome not in ("stopped", "accepted"):
        raise ConfigError(
            f"{run.folder} has no gate that stopped it; `adaptinf status {run.folder}` says what the gate found"
        )
    if outcome == "accepted":
        return Acceptance(change=None, removed=(), text=f"nothing to accept: step {step} was accepted before")
    lost = gate.of("dropped")
    change = Accepted(
        what="gate",
        step=step,
        was={skill.skill: skill.line for skill in lost},
        now={GATE: digest_of(run, step)},
        text="; ".join(skill.line for skill in lost),
    )
    note_accepted(run, change)
    return Acceptance(change=change, removed=(), text=f"accepted: {change.line}; repeat the command to go on from it")
