"""adaptinf accept: the user takes a changed base model, or changed tests, as they are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from adaptinf.errors import ConfigError
from adaptinf.runs import Run
from adaptinf.runs.acceptance import ACCEPTABLE, Accepted
from adaptinf.runs.base import accept_base, unfinished_work
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
    if what == "gate":
        raise ConfigError(f"{run.folder} has no gate that stopped it; {' and '.join(ACCEPTABLE)} can be accepted")
    if what not in ACCEPTABLE:
        raise ConfigError(f"{what!r} cannot be accepted; {known_names(what, ACCEPTABLE)}")
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
