"""The runs of a report: their names, which of them are seeds of one method, and the data that each has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from adaptinf.data import Evaluation, Features, Selection
from adaptinf.data.predictions import Stops, stops_of
from adaptinf.pool.catalogue import Catalogue
from adaptinf.pool.corrections import excluded_ids
from adaptinf.runs import BASE_STEP, Run
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.gates import accepted_evaluation_step, gate_lines, outcome_of, rejected_rows
from adaptinf.runs.methods import method_traits
from adaptinf.runs.tested import metrics_of
from adaptinf.selection.traits import Role
from adaptinf.storage.store import Artifact
from adaptinf.words import counted

A = TypeVar("A", bound=Artifact)
SEED_KEYS = {"seed", "made_by", "stream", "evaluation", "plugins", "executor"}
"""Settings in which seeds of one method may differ: demo and compare generate data for every seed."""
CONSEQUENCE = {
    "base": "What changed there may come from the base model and not from the training.",
    "gate": "The run went on from a model that had lost more than evaluation_gate allows.",
    "tests": "Accuracies before and after are answers to other questions; forgetting counts from there on.",
}
"""What an accepted change means for the reader of the page."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFacts:
    """One run and its names on the page."""

    run: Run
    """The run folder."""
    group: str
    """Name of the method, with part of the folder if two groups had the same; seeds of one method are one group."""
    label: str
    """Name of the group, with the seed if the group has several."""

    @cached_property
    def role(self) -> Role:
        """What the method is compared as."""
        return method_traits(self.run.config).role

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every sample that has ever arrived."""
        return Catalogue.of(self.run.pool_folder)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The newest evaluation that counts, with all rows of the skill matrix so far; None if no skill is tested.

        That of a step that the gate has rolled back, or at which it has stopped the run, does not count.
        """
        step = accepted_evaluation_step(self.run, len(self.run.config.stream) - 1)
        return None if step is None else self.run.load(step, Evaluation)

    @cached_property
    def all_tested(self) -> Evaluation | None:
        """The newest evaluation, whatever the gate says of its last row: for what shows every row."""
        newest = self.run.newest(Evaluation)
        return None if newest is None else replace(newest, rejected_rows=rejected_rows(self.run, newest))

    @cached_property
    def rejected(self) -> dict[int, str]:
        """Row of the skill matrix that does not count -> why, in a word."""
        evaluation = self.all_tested
        rows = () if evaluation is None else evaluation.rejected_rows
        return {row: "stopped" if outcome_of(self.run, row - 1) == "stopped" else "rejected" for row in rows}

    def evaluation_at(self, row: int) -> Evaluation | None:
        """Return the evaluation behind a row of the skill matrix (0: the base model); None where it is not there."""
        if row not in self._evaluations:
            self._evaluations[row] = self.run.load(row - 1 if row else BASE_STEP, Evaluation)
        return self._evaluations[row]

    @cached_property
    def _evaluations(self) -> dict[int, Evaluation | None]:
        """Row -> its evaluation, as far as it was asked for."""
        return {}

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the score of each skill of `all_tested` means; empty text: unknown."""
        return () if self.all_tested is None else metrics_of(self.all_tested, self.run.config)

    @cached_property
    def stops(self) -> dict[str, Stops]:
        """Skill -> how many of its newest answers were cut off; without skills of which it is not known."""
        table = {} if self.evaluation is None else self.evaluation.predictions
        return stops_of(table["skill"].tolist(), table["stop"].tolist()) if table else {}

    @property
    def changes(self) -> list[str]:
        """Sentences about what the user changed: base model and tests, and samples that were taken out of the pool."""
        lines = [f"{change.line}. {CONSEQUENCE[change.what]}" for change in accepted_changes(self.run)]
        return [*(f"{line[:1].upper()}{line[1:]}" for line in lines), *self._exclusions]

    @property
    def _exclusions(self) -> list[str]:
        """A sentence per reason and step for samples that are excluded now."""
        counts = Counter((one.step, one.why or "") for one in excluded_ids(self.run.pool_folder).values())
        return [
            f"{counted(count, 'sample')} {'was' if count == 1 else 'were'} excluded from step {step + 1} on"
            f"{f' ({why})' if why else ''}."
            for (step, why), count in sorted(counts.items())
        ]

    @property
    def gate_notes(self) -> list[str]:
        """Sentences about the steps that the gate did not pass, or could not decide about."""
        return list(gate_lines(self.run, range(len(self.run.config.stream))))

    def steps_with(self, *stages: type[Artifact]) -> list[int]:
        """Return the steps in which all these stages are finished."""
        return [step for step in range(len(self.run.config.stream)) if self.run.has(step, *stages)]

    def load(self, step: int, kind: type[A]) -> A:
        """Return the artifact of a finished stage."""
        artifact = self.run.load(step, kind)
        assert artifact is not None, f"{kind.stage} of step {step} is finished"
        return artifact

    @property
    def why_no_clusters(self) -> str:
        """A sentence that says why the run has no scores, vectors and clusters."""
        if not self.steps_with(Features):
            method = self.run.config.selection.method
            if self.steps_with(Selection):
                return f"{method} selects without the model, so it has no scores, vectors or clusters."
            return "No step of this run has finished extraction yet."
        return "No step of this run has finished clustering yet."


def gather(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[RunFacts]:
    """Open every run and name it; the order stays, a folder that is given twice counts once.

    With `names`, one a folder, runs of one name are the seeds of one method.

    Raises:
        ConfigError: a folder is not a run folder.
        StoreError: a dataset of a step is missing from a run's pool.
    """
    given = dict(zip([folder.resolve() for folder in folders], names or [""] * len(folders), strict=True))
    runs = [Run.open(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    for run in runs:
        check_datasets(run)
    if names is None:
        groups = _groups(runs)
        group_names = _group_names(groups)
    else:
        group_names = list(dict.fromkeys(given.values()))
        groups = [[run for run in runs if given[run.folder.resolve()] == name] for name in group_names]
    label_of = {
        id(run): (name, name if len(members) == 1 else f"{name}, seed {run.config.seed}")
        for name, members in zip(group_names, groups, strict=True)
        for run in members
    }
    return [RunFacts(run=run, group=label_of[id(run)][0], label=label_of[id(run)][1]) for run in runs]


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the groups of runs that differ only in the seed; a group never has two runs with the same seed."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        key, number = _setting(run), 0
        while any(other.config.seed == run.config.seed for other in groups.get((key, number), [])):
            number += 1
        groups.setdefault((key, number), []).append(run)
    return list(groups.values())


def _setting(run: Run) -> str:
    """Return a key that is the same for all runs that differ only in the seed."""
    if _is_in_a_row(run):
        return str(run.folder.resolve().parent)  # seeds of a benchmark may have different base models
    settings = run.config.model_dump(mode="json", exclude=SEED_KEYS)
    datasets = [(dataset.name, dataset.weight) for dataset in run.config.stream]
    return json.dumps([settings, datasets], sort_keys=True)


def _is_in_a_row(run: Run) -> bool:
    """Return whether a run folder is ROW/seed-N, as `adaptinf compare` names them."""
    return run.folder.name == f"seed-{run.config.seed}"


def _group_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return the name of each group: its row in a comparison, otherwise its method.

    If two groups had the same name, as much of the folder is added as distinguishes them.
    """
    firsts = [members[0] for members in groups]
    methods = [run.folder.resolve().parent.name if _is_in_a_row(run) else run.config.selection.method for run in firsts]
    folders = [run.folder.resolve() for run in firsts]
    for depth in range(max(len(folder.parts) for folder in folders) + 1):
        names = [
            method if methods.count(method) == 1 or not depth else f"{method} ({'/'.join(folder.parts[-depth:])})"
            for method, folder in zip(methods, folders, strict=True)
        ]
        if len(set(names)) == len(names):
            break
    return names
