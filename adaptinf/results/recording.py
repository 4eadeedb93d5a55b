"""Make the record of a run from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from adaptinf.data import Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.evaluation.metrics import rare_skills
from adaptinf.pool import Pool
from adaptinf.results.items import THOUSAND, ItemScores
from adaptinf.results.records import HF, MATRIX_DIGITS, RunRecord, StepRecord
from adaptinf.runs import Run
from adaptinf.runs.acceptance import accepted_changes
from adaptinf.runs.gates import accepted_evaluation_step, gate_lines, is_rolled_back
from adaptinf.runs.methods import method_traits
from adaptinf.runs.tested import metrics_of
from adaptinf.storage import tables

SELECTION_STAGES = tuple(kind.stage for kind in (Features, Clusters, Selection, SavedPruning))
"""Stages whose seconds count as the cost of selection."""


def record_of(
    run: Run,
    *,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    stream: str = "",
    in_detail: bool = True,
) -> RunRecord:
    """Return the record of a run after its last finished step.

    Args:
        run: the run.
        name: name of its row; None: that of its method.
        settings: settings in which the row differs from the stream.
        stream: name of the stream.
        in_detail: whether to read the pool and the model too, for agreement, share of rare skills and fingerprint.
    """
    config, num_steps = run.config, run.num_finished
    evaluation = run.load(num_steps - 1, Evaluation)
    tested = evaluation or _nothing(num_steps)
    accepted = _newest_accepted(run, tested)
    rare = {skill for skill, is_rare in zip(tested.skills, rare_skills(tested.frequency), strict=True) if is_rare}
    made_by = run.made_by()
    seconds = run.seconds()
    return RunRecord(
        name=name or config.selection.method,
        method=config.selection.method,
        seed=config.seed,
        settings=dict(settings or {}),
        stream=stream,
        model=Path(config.model.path).name,
        fingerprint=model_fingerprint(config.model.path) if in_detail else None,
        budget=config.selection.budget,
        cap=run.cap,
        traits=method_traits(config),
        skills=tested.skills,
        introduced_at=tested.introduced_at,
        matrix=np.round(tested.matrix, MATRIX_DIGITS),
        num_items=tested.num_items,
        frequency=np.round(tested.frequency, MATRIX_DIGITS),
        items=item_scores(accepted),
        steps=tuple(_step_record(run, step, rare, seconds, in_detail) for step in range(num_steps)),
        made_by=made_by.model_dump() if made_by else {},
        breaks=tested.breaks,
        rejected=tested.rejected_rows,
        gates=tuple(gate_lines(run, range(num_steps))),
        changes=tuple(change.line for change in accepted_changes(run)),
        tolerant=np.round(tested.tolerant, MATRIX_DIGITS),
        standard_errors=_errors_of(accepted, tested.skills),
        metrics=metrics_of(tested, config),
        tests={skill: found for skill in tested.skills if (found := tested.last_digest(skill)) is not None},
        engine=tested.info.get("engine", HF),
    )


def _newest_accepted(run: Run, tested: Evaluation) -> Evaluation:
    """Return the evaluation of the newest model: that of the last step, or of the one before those rolled back."""
    step = accepted_evaluation_step(run, run.num_finished - 1) if tested.rejected_rows else None
    found = None if step is None else run.load(step, Evaluation)
    return tested if found is None else found


def _errors_of(accepted: Evaluation, skills: Sequence[str]) -> np.ndarray:
    """Return the standard errors of the newest model's accuracies, NaN for skills that it was not tested on."""
    known = dict(zip(accepted.skills, accepted.standard_errors[-1].tolist(), strict=True)) if accepted.skills else {}
    return np.round(np.array([known.get(skill, np.nan) for skill in skills], np.float64), MATRIX_DIGITS)


def item_scores(evaluation: Evaluation) -> dict[str, ItemScores]:
    """Return skill -> its test items, for skills that have any."""
    table = evaluation.predictions
    found = {}
    for skill in evaluation.skills:
        rows = np.flatnonzero(table["skill"] == skill)
        if len(rows):
            rows = rows[np.argsort(table["id"][rows], kind="stable")]
            scores, tolerant = (np.rint(table[name][rows] * THOUSAND) / THOUSAND for name in ("score", "tolerant"))
            # Correct answers are part of the digest: a test file may be edited, and its rows may have no ids.
            words = np.concatenate([table["id"][rows], table["answer"][rows]])
            found[skill] = ItemScores(digest=tables.digest(words), scores=scores, tolerant=tolerant)
    return found


def _nothing(num_steps: int) -> Evaluation:
    """Return the evaluation of a run that tests no skill."""
    return Evaluation(
        skills=(),
        introduced_at=np.zeros(0, np.int64),
        matrix=np.zeros((num_steps + 1, 0)),
        num_items=np.zeros(0, np.int64),
        frequency=np.zeros(0),
        predictions={},
    )


def _step_record(
    run: Run, step: int, rare: set[str], seconds: Mapping[tuple[int, str], float], in_detail: bool
) -> StepRecord:
    training, pruning = run.load(step, Trained), run.load(step, SavedPruning)
    assert training is not None and pruning is not None, "the step is finished"
    trained = training.info
    left_out = len(trained.get("unreadable", [])) + len(trained.get("without_answer", []))
    # The saved numbers of a step that was rolled back are those of the step before.
    is_kept = not is_rolled_back(run, step)
    agreement, rare_share = _skills_at(run, step, rare) if in_detail else (None, None)
    return StepRecord(
        dataset=run.config.stream[step].name,
        pool=pruning.num_found,
        trained=trained["samples"] - left_out if is_kept else 0,
        optimizer_steps=trained.get("optimizer_steps", 0) if is_kept else 0,
        selection_seconds=round(sum(seconds.get((step, stage), 0.0) for stage in SELECTION_STAGES), 3),
        training_seconds=seconds.get((step, Trained.stage), 0.0),
        evaluation_seconds=seconds.get((step, Evaluation.stage), 0.0),
        agreement=agreement,
        rare_share=rare_share,
        measured=Features.num_measured(run.stage_folder(step, Features)) if run.has(step, Features) else None,
    )


def _skills_at(run: Run, step: int, rare: set[str]) -> tuple[float | None, float | None]:
    """Return the agreement of a step's clusters with the true skills, and the share of rare skills in its selection."""
    selection = run.load(step, Selection)
    if selection is None:
        return None, None
    pool = run.pool(step)
    if not np.any(pool.skills != ""):
        return None, None
    chosen = _skills_of(pool, selection.ids)
    is_rare = [skill in rare for skill in chosen]
    rare_share = round(sum(is_rare) / len(chosen), MATRIX_DIGITS) if len(chosen) else None
    return _agreement(run.load(step, Clusters), selection, pool, step), rare_share


def _skills_of(pool: Pool, ids: np.ndarray) -> np.ndarray:
    """Return the true skill of each id; empty where it is not known, or the sample is not in the pool."""
    rows = pool.rows(ids)
    return np.where(rows >= 0, pool.skills[rows], "").astype(object)


def _parts_at(selection: Selection, arrived: np.ndarray, step: int) -> np.ndarray:
    """Return the number of the part that samples were chosen in, by when they arrived; 0 without parts, -1 for none."""
    steps, place = np.unique(arrived, return_inverse=True)
    if not selection.parts:
        return np.zeros(len(arrived), np.int64)
    held = [[part.holds(one, step) for part in selection.parts] for one in steps.tolist()]
    return np.array([row.index(True) if any(row) else -1 for row in held], np.int64)[place]


def _agreement(clusters: Clusters | None, selection: Selection, pool: Pool, step: int) -> float | None:
    if clusters is None:
        return None
    from sklearn.metrics import adjusted_rand_score

    skills = _skills_of(pool, clusters.ids)
    known = (clusters.labels >= 0) & (skills != "")
    if not known.any():
        return None
    # If the method joins clusters, the joint clusters are compared with the skills; it joins them anew in each part.
    chosen, joint = selection.clusters, dict[tuple[int, int], tuple[int, int]]()
    if "joint" in chosen:
        parts = chosen.get("part", np.zeros(len(chosen["cluster"]), np.int64)).tolist()
        names = zip(parts, chosen["joint"].tolist(), strict=True)
        joint = dict(zip(zip(parts, chosen["cluster"].tolist(), strict=True), names, strict=True))
    rows = pool.rows(clusters.ids)[known]
    pairs = np.stack([_parts_at(selection, pool.arrived[rows], step), clusters.labels[known]], axis=1)
    if not joint:
        pairs[:, 0] = 0
    found, place = np.unique(pairs, axis=0, return_inverse=True)
    numbers_of = {name: number for number, name in enumerate(dict.fromkeys(joint.values()))}
    others = len(numbers_of) + np.arange(len(found))
    named = [numbers_of.get(joint.get((part, label), (-1, -1)), -1) for part, label in found.tolist()]
    joints = np.where(np.array(named) >= 0, named, others)[place.reshape(-1)]
    # As numbers: texts of a large pool take minutes to compare.
    numbers = pa.array(skills[known], pa.large_string()).dictionary_encode().indices.to_numpy()
    return round(float(adjusted_rand_score(numbers, joints)), MATRIX_DIGITS)


@lru_cache(maxsize=64)
def model_fingerprint(path: str) -> str | None:
    """Return sixteen hex digits of the files of a model folder; None if the path is not a folder."""
    folder = Path(path)
    if not folder.is_dir():
        return None
    digest = xxhash.xxh3_64()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
            digest.update(file.name.encode())
            with file.open("rb") as opened:
                while piece := opened.read(2**20):
                    digest.update(piece)
    return digest.hexdigest()
