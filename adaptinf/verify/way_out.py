"""What each damaged file loses, and what makes it again from what is whole."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from adaptinf.data import Checked, Clusters, Evaluation, Features, SampleMap, SavedPruning, Selection, Trained
from adaptinf.errors import AdaptError, StoreError
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.runs import Run
from adaptinf.runs.acceptance import Accepted, accepted_changes
from adaptinf.runs.base import changed_base
from adaptinf.runs.layout import REJECTED_MODEL
from adaptinf.runs.making_again import former_of
from adaptinf.runs.same_tests import changed_items
from adaptinf.storage import checksums
from adaptinf.storage.inspection import Problem
from adaptinf.verify.examination import Examination, known_content
from adaptinf.verify.findings import Damage, run_command
from adaptinf.verify.folders import Place
from adaptinf.verify.recipes import MODEL_STAGES, Recipes

WITHOUT = {
    POOL_STAGE: "the weights in steps/*/model can be used; further steps need the dataset",
    Checked.stage: "weights, selections and accuracies do not need it; the next step does",
    Features.stage: "weights, selections and accuracies do not need it",
    Clusters.stage: "weights, selections and accuracies do not need it",
    Selection.stage: "weights and accuracies do not need it; an export of its step does",
    Trained.stage: "tables, report and the weights of other steps do not need it; a step after it does",
    REJECTED_MODEL: "everything works but a second test of that model",
    Evaluation.stage: "weights and selections do not need it; the next step does, for its table of accuracies",
    SavedPruning.stage: "the weights in steps/*/model can be used; further steps need it",
    SampleMap.stage: "everything but the map in `adaptinf view` works",
}
"""What still works without a folder that cannot be made again, by its stage."""


def recipes_of(run: Run, found: Examination, sources: Mapping[int, str] | None = None) -> Recipes:
    """Return what the run's folders are made from, `sources` being datasets whose files give other rows now."""
    bad = {*found.reading.problems, *found.lost}
    unknown = {
        place.step: "no hash of its rows was kept, by which other rows would be noticed"
        for place in bad
        if place.stage == POOL_STAGE and place.step < run.num_begun and known_content(run, found, place.step) is None
    }
    return Recipes(
        run=run,
        bad=bad,
        dropped=found.reading.dropped,
        obstacles=tuple(found.obstacles),
        sources={**unknown, **(sources or {})},
        changed=_changed(run, {place.stage for place in bad}),
        accepted=_accepted(run),
    )


def _changed(run: Run, stages: Collection[str]) -> dict[str, str]:
    """Return those of some stages whose model or tests are now other ones than in the steps before -> which."""
    found = {}
    with suppress(AdaptError, OSError):  # what cannot be read is named by the run that needs it
        if MODEL_STAGES & set(stages) and (phrase := changed_base(run)):
            found = dict.fromkeys(MODEL_STAGES, phrase)
        if Evaluation.stage in stages and (phrase := changed_items(run)):
            found[Evaluation.stage] = phrase
    return found


def _accepted(run: Run) -> tuple[Accepted, ...]:
    try:
        return accepted_changes(run)
    except StoreError:  # found as damage of its file
        return ()


def damages(run: Run, found: Examination, recipes: Recipes) -> Iterator[Damage]:
    """Yield every damaged file of a run with what it loses and the way out."""
    for place in found.places:
        problems = found.reading.problems.get(place, ())
        names = frozenset(problem.path.name for problem in problems)
        for problem in problems:
            yield _damage(run, place, problem, names, recipes)
        if place in found.reading.unjudged:
            yield _unjudged(run, place, found.reading.unjudged[place])
    for place in found.lost:
        yield _lost(run, place, recipes)
    yield from found.others


LOGS = frozenset({Trained.LOG, Trained.OUTPUT})
"""Files beside the weights that nothing but a person reads."""


def is_removable(place: Place, problems: list[Problem], recipes: Recipes) -> bool:
    """Tell whether a damaged folder is worth removing, as it can be made again.

    Weights that are whole are kept where only the log beside them is damaged.
    """
    names = {problem.path.name for problem in problems}
    is_log = place.stage == Trained.stage and bool(names) and names <= LOGS
    return recipes.obstacle(place) is None and not is_log


def _damage(run: Run, place: Place, problem: Problem, names: frozenset[str], recipes: Recipes) -> Damage:
    folder, obstacle = place.folder(run), recipes.obstacle(place)
    can_be_made = obstacle is None
    if obstacle is not None:
        way_out = _bring_back(place, obstacle)
    elif place.stage == Trained.stage and names and names <= LOGS:
        can_be_made = False
        way_out = (
            f"bring back a copy; nothing else needs it. To train again for it: delete {folder}, then {run_command(run)}"
        )
    else:
        repair = f"adaptinf verify {shlex.quote(str(run.folder))} --repair"
        way_out = f"{repair}, then {_maker(run, place)}, which makes {folder} again{_caveat(run, place, folder)}"
    return Damage(
        path=problem.path,
        what=problem.what,
        loses=place.loses(names),
        way_out=way_out,
        folder=folder if can_be_made else None,
    )


def _maker(run: Run, place: Place) -> str:
    """Return the command that makes a folder again."""
    is_map = place.stage == SampleMap.stage
    return f"adaptinf view {shlex.quote(str(run.folder))} --step {place.step}" if is_map else run_command(run)


def _lost(run: Run, place: Place, recipes: Recipes) -> Damage:
    folder, obstacle = place.folder(run), recipes.obstacle(place)
    again = f"{_maker(run, place)}, which makes it again{_caveat(run, place, former_of(folder))}"
    return Damage(
        path=folder,
        what="is missing",
        loses=place.loses(frozenset()),
        way_out=again if obstacle is None else _bring_back(place, obstacle),
        folder=folder if obstacle is None else None,
    )


def _unjudged(run: Run, place: Place, problem: Problem) -> Damage:
    folder = place.folder(run)
    adopt = f"adaptinf verify {shlex.quote(str(run.folder))} --adopt"
    return Damage(
        path=problem.path,
        what=problem.what,
        loses=f"whether the other files of {folder} are as they were written; they may well be whole",
        way_out=f"bring back a copy of this file; or take the others as they are: {adopt}",
    )


def _bring_back(place: Place, obstacle: str) -> str:
    return f"bring back a copy: it cannot be made again, as {obstacle}. Without it, {WITHOUT[place.stage]}"


def _caveat(run: Run, place: Place, kept: Path) -> str:
    """Return what is to be known of a folder that is made again; `kept`: where its former checksums are."""
    if place.stage == POOL_STAGE:
        return f", if {run.config.stream[place.step].path} still gives the same rows"
    # Only `run` and `step` compare; the command that makes maps does not.
    is_compared = place.stage != SampleMap.stage and _has_checksums(kept)
    if place.stage == Trained.stage and place.step + 1 < run.num_begun:
        compared = " and says whether the weights are the same" if is_compared else ""
        return f"{compared}: later steps went on from the former ones"
    return " and says whether every byte is as before" if is_compared else ""


def _has_checksums(path: Path) -> bool:
    """Tell whether a folder, or the file that keeps those of a removed one, has checksums to compare with."""
    try:
        return (checksums.load(path) if path.is_dir() else checksums.read(path)) is not None
    except StoreError:
        return False
