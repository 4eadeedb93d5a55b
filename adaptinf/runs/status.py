"""The state of a run: finished stages, remaining steps, time left."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.data import ARTIFACTS, Evaluation, Replay, SavedPruning, SelectedPart, Selection
from adaptinf.data.pruning import PruningCounts
from adaptinf.evaluation.harness.running import logs_below
from adaptinf.pool.corrections import excluded_ids, kept_ids, restored_ids, withdrawn_datasets
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.pool.stored import StoredDataset, dataset_info, stored_datasets
from adaptinf.runs import BASE_STEP, Run, events
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.activity import Activity, activity_of
from adaptinf.runs.composition import described
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.expected import missing
from adaptinf.runs.gates import Outcome, gate_at, outcome_of
from adaptinf.runs.layout import CONFIG
from adaptinf.runs.remaining import Remaining, remaining
from adaptinf.runs.step_folders import StepFolders
from adaptinf.runs.tested import NewestTest, averages_after, newest_test
from adaptinf.runs.time_left import seconds_left
from adaptinf.runs.usable import unusable_counts
from adaptinf.storage import store
from adaptinf.storage.display import as_frame, as_html, lines_figure
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Judged(NamedTuple):
    """What the gate made of a step."""

    outcome: Outcome
    """What became of it."""
    findings: tuple[str, ...]
    """What was found, a line each."""


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """The state of one step."""

    step: int
    """Its number, from 0."""
    dataset: str
    """Name of the dataset that arrives with it."""
    rows: int | None
    """Samples of the dataset; None: it has not joined the pool yet."""
    rejected: int | None
    """Rows of the dataset that were rejected; None as above."""
    unusable: int | None
    """Samples of the pool that the model cannot be trained on in this step, so that they are not selectable; None: the
    step has not looked yet."""
    done: tuple[str, ...]
    """Names of the finished stages."""
    under_way: tuple[str, ...]
    """Names of the stages that have begun and are not finished."""
    lost: tuple[str, ...]
    """Names of the stages that were finished and are gone, though later ones stand on them; `pool`: its dataset."""
    finished: bool
    """Whether this step and all before it are finished."""
    kept: int | None
    """Samples in the pool after the step; None: it has not pruned yet."""
    average_accuracy: float | None
    """Mean strict accuracy over skills of what the step trained, 0 to 1, whatever its gate says; None: not tested."""
    average_tolerant: float | None
    """The same whatever the format of the answers; None: not tested, or that of a skill is not known."""
    seconds: float | None
    """Time spent on the step so far; None: it has not begun."""
    gate: Outcome | None
    """What became of the step under the gate: `passed`, `warned`, `stopped`, `accepted` (after it was stopped) or
    `rolled back`, so that its row does not count; None: it was not judged."""
    gate_findings: tuple[str, ...]
    """Drops that count, drops that are not decided, and skills that are not compared or by size alone, a line each."""
    replay: Replay | None
    """What came of `selection.replay_share`; None: it is not set, or the step has not selected yet."""
    parts: tuple[SelectedPart, ...]
    """The parts of the pool that shared the budget; none: it was not shared among parts, or not yet."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a run; names of fields are the keys of `status --json`."""

    folder: Path
    """The run folder."""
    state: str
    """`running`: a process works on it; `stopped`: one was killed or failed in the middle of a step; `held`: the gate
    has stopped it, until its user decides; `waiting`: some datasets wait, of which nothing has begun, or are still to
    be added; `finished`: nothing waits."""
    process: int | None
    """Process id of the one that works on it; None: nobody does, or its lock does not say."""
    activity: Activity
    """What the process that works on the run, or was the last to do so, has said of itself."""
    left: Remaining
    """Time left for the stage, the step and the stream under way."""
    method: str
    """Name of the selector."""
    budget: int
    """Samples to train on in one step."""
    cap: int | None
    """Samples that the pool may hold after a step; None: no cap."""
    steps_finished: int
    """Finished steps."""
    steps_waiting: int
    """Steps that are not finished."""
    pool: int
    """Samples in the pool."""
    pruned: int
    """Samples that were pruned."""
    restored: int
    """Samples that were pruned and restored."""
    excluded: int
    """Samples that are excluded, but for those of withdrawn datasets."""
    kept_ids: int
    """Samples that `selection.keep` has named so far."""
    withdrawn: dict[str, int]
    """Withdrawn dataset -> first step whose pool lacks it."""
    disk_bytes: int
    """Size of the run folder."""
    testing_base: bool
    """Whether the test of the base model, which the first step begins with, has begun and is not finished."""
    seconds_left: float | None
    """Estimate for the waiting steps, from the mean finished step; before one is finished, and while a process works on
    the run, that of `left`; None while nothing is known."""
    accepted: tuple[str, ...]
    """Changes of base model and tests that the user has accepted, a line each."""
    logs: tuple[str, ...]
    """Logs of the commands that test the model of the step under way, relative to the folder."""
    newest_test: NewestTest | None
    """The newest test: accuracies whatever the format, answers that were cut off; None: nothing is tested yet."""
    steps: tuple[StepStatus, ...]
    """One per dataset of the stream."""

    def __repr__(self) -> str:
        steps = f"{self.steps_finished} of {counted(len(self.steps), 'step')} finished"
        return f"Status({str(self.folder)!r}: {self.method}, {steps}, {counted(self.pool, 'sample')} in the pool)"

    @property
    def way_on(self) -> str:
        """The command that goes on with the run."""
        return f"adaptinf run {shlex.quote(str(self.folder / CONFIG))}"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        plain = asdict(replace(self, activity=Activity(state="at rest")))
        return {**plain, "folder": str(self.folder), "activity": self.activity.as_json()}

    def composition_lines(self) -> list[str]:
        """Return a line per step in which parts of the pool shared the budget, with what each gave."""
        names = [step.dataset for step in self.steps]
        return [f"step {step.step} selected {described(step.parts, names)}" for step in self.steps if step.parts]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per step, indexed by its number; columns are the other fields of `StepStatus`."""
        names = [field.name for field in fields(StepStatus) if field.name != "step"]
        columns = {name: [getattr(step, name) for step in self.steps] for name in names}
        return as_frame(columns, index=[step.step for step in self.steps], index_name="step")

    def figure(self) -> go.Figure:
        """Return the mean accuracy over skills after each step, in percent, as a figure of plotly."""
        pairs = {"strict": "average_accuracy", "tolerant": "average_tolerant"}
        found = {name: [getattr(step, field) for step in self.steps] for name, field in pairs.items()}
        lines = {
            name: [float("nan") if value is None else 100.0 * value for value in values]
            for name, values in found.items()
            if any(value is not None for value in values)
        }
        steps = [f"{step.step} {step.dataset}" for step in self.steps]
        return lines_figure("Mean accuracy over skills", steps, lines, axes=("after step", "accuracy, %"))

    def _repr_html_(self) -> str:
        """Return all steps as notebooks show them."""
        return as_html(repr(self), self.to_pandas(), max_rows=None)


def status_of(run: Run, activity: Activity | None = None) -> Status:
    """Return the state of a run: steps with their stages, pool, disk, time left.

    `activity`: who works on it, as a watcher knows who has seen its heartbeat for a while; None: it is looked at now.

    Raises:
        StoreError: a dataset of a step is missing from the pool, or a file is damaged.
    """
    check_datasets(run)
    activity = activity_of(run) if activity is None else activity
    seconds, folders, is_running = run.seconds(), StepFolders.of(run), activity.state == "running"
    datasets = {dataset: dataset_info(dataset.folder) for dataset in stored_datasets(run.pool_folder)}
    pruned = [step for step in range(len(run.settings.stream)) if folders.has(step, SavedPruning)]
    judged, num_rows = _judged(run, folders), _num_rows(run, datasets)
    left = remaining(run, activity, num_rows=num_rows, seconds=seconds, folders=folders)
    of_mean = seconds_left(run, seconds, num_rows, folders.num_finished)
    prunings = {step: SavedPruning.load_counts(run.stage_folder(step, SavedPruning)) for step in pruned}
    return Status(
        folder=run.folder,
        state="running" if is_running else _state_at_rest(run, judged, activity),
        process=activity.process if is_running else None,
        activity=activity,
        left=left,
        method=run.settings.selection.method,
        budget=run.settings.selection.budget,
        cap=run.cap,
        steps_finished=folders.num_finished,
        steps_waiting=len(run.settings.stream) - folders.num_finished,
        **_pool_status(run, datasets, prunings),
        disk_bytes=store.folder_bytes(run.folder),
        testing_base=folders.is_making(BASE_STEP, Evaluation),
        seconds_left=left.stream if of_mean is None or (is_running and left.stream is not None) else of_mean,
        accepted=tuple(change.line for change in accepted_changes(run)),
        logs=tuple(_harness_logs(run, folders)),
        newest_test=newest_test(run, folders),
        steps=tuple(_step_statuses(run, folders, seconds, datasets, prunings, judged)),
    )


def left_of(run: Run, activity: Activity) -> Remaining:
    """Return the time left alone, which a watcher asks for every two seconds."""
    datasets = {dataset: dataset_info(dataset.folder) for dataset in stored_datasets(run.pool_folder)}
    num_rows = _num_rows(run, datasets)
    return remaining(run, activity, num_rows=num_rows, seconds=run.seconds(), folders=StepFolders.of(run))


def _num_rows(run: Run, datasets: Mapping[StoredDataset, dict[str, Any]]) -> list[int | None]:
    """Return the samples of each dataset of the stream; None for one that has not joined the pool."""
    rows = {dataset.folder.name: info["rows"] for dataset, info in datasets.items()}
    return [rows.get(run.dataset_folder(step).name) for step in range(len(run.settings.stream))]


def _harness_logs(run: Run, folders: StepFolders) -> Iterator[str]:
    """Yield where the commands that test a model have written, of evaluations that are not finished."""
    for step in (BASE_STEP, folders.num_finished):
        if folders.is_making(step, Evaluation):
            for path in logs_below(store.part_of(run.stage_folder(step, Evaluation))):
                yield path.relative_to(run.folder).as_posix()


def _judged(run: Run, folders: StepFolders) -> dict[int, Judged]:
    """Return step -> what the gate made of it; without steps that were not judged."""
    if run.settings.evaluation_gate is None:
        return {}
    found = {}
    for step in range(len(run.settings.stream)):
        gate = gate_at(run, step) if folders.has(step, Evaluation) else None
        outcome = outcome_of(run, step) if gate is not None else None
        if gate is not None and outcome is not None:
            found[step] = Judged(outcome, (*gate.lines(), *filter(None, [gate.size_line])))
    return found


def _state_at_rest(run: Run, judged: Mapping[int, Judged], activity: Activity) -> str:
    """Return the state of a run that nobody works on."""
    if any(one.outcome == "stopped" for one in judged.values()):
        return "held"
    length = len(run.config.stream)
    # Of a dataset that `add` refused, nothing but a line in the log is left.
    unended = [(step, stage) for step, stage in events.unended(run.events_file) if step < length]
    is_begun = any(not _is_finished(run, *place) for place in unended) or run.num_begun > run.num_finished
    if is_begun or (activity.state == "stopped" and run.num_finished < length):
        return "stopped"
    return "waiting" if run.num_finished < length or not length else "finished"


def _is_finished(run: Run, step: int, stage: str) -> bool:
    """Tell whether the folder of a stage is there, as it is where a damaged line is all that its end has lost."""
    return (run.dataset_folder(step) if stage == POOL_STAGE else run.step_folder(step) / stage).exists()


def _pool_status(
    run: Run, infos: Mapping[StoredDataset, dict[str, Any]], prunings: Mapping[int, PruningCounts]
) -> dict[str, Any]:
    """Return the number of samples in the pool, pruned, restored, excluded and kept, and the withdrawn datasets.

    The numbers follow from what the folders say of themselves: no row of a dataset is read.
    """
    withdrawn, restored = withdrawn_datasets(run.pool_folder), restored_ids(run.pool_folder)
    datasets = [dataset for dataset in infos if dataset.name not in withdrawn]
    num_stored = sum(infos[dataset]["rows"] for dataset in datasets)
    num_pruned, num_restored, num_also_pruned = sum(counts.pruned for counts in prunings.values()), 0, 0
    excluded = [id for id in excluded_ids(run.pool_folder) if id.partition("/")[0] not in withdrawn]
    if withdrawn or restored or excluded:
        ids = _pruned_of([run.stage_folder(step, SavedPruning) for step in prunings], withdrawn)
        num_restored = _num_among(ids, restored)
        num_pruned = len(ids) - num_restored
        num_also_pruned = _num_among(ids, set(excluded) - restored.keys())
    return {
        "pool": num_stored - num_pruned - (len(excluded) - num_also_pruned),
        "pruned": num_pruned,
        "restored": num_restored,
        "excluded": len(excluded),
        "kept_ids": len(kept_ids(run.pool_folder)),
        "withdrawn": withdrawn,
    }


def _num_among(ids: pa.Array, wanted: Iterable[str]) -> int:
    """Return how many of the ids are among others."""
    return pc.sum(pc.is_in(ids, value_set=pa.array(list(wanted), pa.string()))).as_py() or 0


def _pruned_of(prunings: Sequence[Path], withdrawn: Iterable[str]) -> pa.Array:
    """Return the ids that were pruned, each once, but for those of withdrawn datasets."""
    chunks = [chunk for folder in prunings for chunk in SavedPruning.load_ids(folder).chunks]
    ids = pc.unique(pa.chunked_array(chunks, pa.string()))
    for name in withdrawn:
        ids = ids.filter(pc.invert(pc.starts_with(ids, f"{name}/")))
    return ids


def _step_statuses(
    run: Run,
    folders: StepFolders,
    seconds: Mapping[tuple[int, str], float],
    datasets: Mapping[StoredDataset, dict[str, Any]],
    prunings: Mapping[int, PruningCounts],
    judged: Mapping[int, Judged],
) -> Iterator[StepStatus]:
    """Yield the state of every step; what all of them ask for is looked up once, as there may be thousands."""
    lost, spent = defaultdict[int, list[str]](list), defaultdict[int, list[float]](list)
    for one in missing(run, folders=folders):
        lost[one.step].append(POOL_STAGE if one.stage is None else one.stage.stage)
    for (step, _), time in seconds.items():
        spent[step].append(time)
    infos = {dataset.folder.name: info for dataset, info in datasets.items()}
    for step, unusable in enumerate(unusable_counts(run, folders=folders)):
        info = infos.get(run.dataset_folder(step).name, {})
        averages = averages_after(run, folders, step)
        selected = run.stage_folder(step, Selection)
        composition = Selection.load_composition(selected) if folders.has(step, Selection) else ((), None)
        yield StepStatus(
            step=step,
            dataset=run.settings.stream[step].name,
            rows=info.get("rows"),
            rejected=info.get("rejected"),
            unusable=unusable,
            done=tuple(kind.stage for kind in ARTIFACTS if folders.has(step, kind)),
            under_way=tuple(kind.stage for kind in ARTIFACTS if folders.is_making(step, kind)),
            lost=tuple(lost[step]),
            finished=step < folders.num_finished,
            kept=prunings[step].kept if step in prunings else None,
            average_accuracy=averages.strict,
            average_tolerant=averages.tolerant,
            seconds=round(sum(spent[step]), 1) if spent[step] else None,
            gate=judged[step].outcome if step in judged else None,
            gate_findings=judged[step].findings if step in judged else (),
            replay=composition[1],
            parts=composition[0],
        )
