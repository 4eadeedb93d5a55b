"""adaptinf explain: the history of one sample, from the tables in a run folder.

Nothing is measured again: scores, clusters, selections and prunings are read from the saved tables. The rank of a
sample that was not selected is in no table; `selection.rank_in_cluster` computes it from the same scores and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptinf.data import Clusters, Features, SavedPruning, Selection, Trained
from adaptinf.errors import ConfigError
from adaptinf.history.parts import PartOf
from adaptinf.history.records import (
    ClusterMembership,
    PruningOutcome,
    SampleHistory,
    Score,
    SelectionOutcome,
    StepHistory,
)
from adaptinf.pool.corrections import Exclusion, exclusions, kept_ids, restored_ids, withdrawn_datasets
from adaptinf.pool.image_file import place_of
from adaptinf.pool.lookup import ID_FORM, did_you_mean, find, find_rejected, similar_ids
from adaptinf.pool.stored import repairs, stored_datasets
from adaptinf.runs import Run
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.gates import is_rolled_back
from adaptinf.runs.usable import unusable_samples
from adaptinf.selection import ClusterRank, rank_in_cluster
from adaptinf.selection.coverage import TAIL_PERCENT
from adaptinf.storage.tables import Columns


def sample_history(run: Run, id: str) -> SampleHistory:
    """Return the history of one sample: in the pool, pruned, withdrawn, or rejected.

    A rejected row has the id that it would have had: its own, or its number with six digits.

    Raises:
        ConfigError: no sample or rejected row has this id; the message names similar ids.
        StoreError: a table of the run is damaged, or a dataset of a step is missing from its pool.
    """
    check_datasets(run)
    stored = find(stored_datasets(run.pool_folder), id)
    if stored is None:
        return _history_of_rejected(run, id)
    sample, arrived = stored.read(), stored.dataset.index
    withdrawn_from = withdrawn_datasets(run.pool_folder).get(sample.source)
    restored_from = restored_ids(run.pool_folder).get(id)
    excluded = exclusions(run.pool_folder).get(id, [])
    pruned_at, steps = None, []
    for step in range(arrived, run.num_begun):
        absent = _exclusion(step, excluded) or _absence(step, pruned_at, restored_from, withdrawn_from)
        found = _step_history(run, step, id, absent)
        pruned_at = step if found.pruned else pruned_at
        steps.append(found)
    return SampleHistory(
        id=id,
        state=_exclusion(None, excluded) or _absence(None, pruned_at, restored_from, withdrawn_from) or "in the pool",
        source=sample.source,
        arrived=arrived,
        turns=sample.turns,
        images=tuple(map(place_of, sample.images)),
        meta=dict(sample.meta),
        notes=repairs(stored.dataset.folder, id),
        restored_from=restored_from,
        withdrawn_from=withdrawn_from,
        kept_from=kept_ids(run.pool_folder).get(id),
        exclusions=tuple(excluded),
        steps=tuple(steps),
    )


def _exclusion(step: int | None, excluded: Sequence[Exclusion]) -> str | None:
    """Return why a sample is excluded in a step (None: in the next one); None if it is not."""
    until = [one for one in excluded if step is None or one.step <= step]
    if not until or until[-1].why is None:
        return None
    reason = f" ({until[-1].why})" if until[-1].why else ""
    return f"excluded from step {until[-1].step} on{reason}"


def _absence(step: int | None, pruned: int | None, restored: int | None, withdrawn: int | None) -> str | None:
    """Return why a sample is not in the pool of a step (None: of the next step); None if it is."""
    if withdrawn is not None and (step is None or step >= withdrawn):
        return f"withdrawn with its dataset from step {withdrawn} on"
    if pruned is not None and (restored is None or (step is not None and step < restored)):
        return f"pruned at step {pruned}"
    return None


def _history_of_rejected(run: Run, id: str) -> SampleHistory:
    found = find_rejected(run.pool_folder, id)
    if found is None:
        hint = did_you_mean(similar_ids(run.pool_folder, id)) or ID_FORM
        raise ConfigError(f"{run.folder} has no sample and no rejected row {id!r}{hint}")
    return SampleHistory(
        id=id,
        state="rejected",
        source=found.dataset.name,
        arrived=found.dataset.index,
        turns=(),
        images=(),
        meta={"file": found.file, "row": found.row},
        notes=(found.reason,),
        restored_from=None,
        withdrawn_from=None,
        kept_from=None,
        exclusions=(),
        steps=(),
    )


def _step_history(run: Run, step: int, id: str, absent: str | None) -> StepHistory:
    if absent:
        nothing: dict[str, Any] = dict.fromkeys(("placed", "considered", "trained", "untrained", "pruned"))
        return StepHistory(step=step, absent=absent, scores={}, **nothing)
    features, clusters = run.load(step, Features), run.load(step, Clusters)
    scores = None if features is None else {"id": features.ids, **features.scores}
    assigned = None if clusters is None else clusters.table()
    is_peer = None if assigned is None else assigned["cluster"] == _value(assigned, id, "cluster")
    considered = _outcome(run, step, id, features, clusters)
    trained, untrained = _trained(run, step, id, considered)
    return StepHistory(
        step=step,
        absent=None,
        scores={} if scores is None else _measured(scores, id, is_peer),
        placed=None if assigned is None else _membership(assigned, id),
        considered=considered,
        trained=trained,
        untrained=untrained,
        pruned=_pruned(run, step, id),
        measured_at=None if features is None else _measured_at(features, step, id),
    )


def _measured_at(features: Features, step: int, id: str) -> int | None:
    row = _row({"id": features.ids}, id)
    return None if row is None else int(features.steps_measured_at(step)[row])


def _row(table: Columns, id: str) -> int | None:
    (rows,) = np.nonzero(table["id"] == id)
    return int(rows[0]) if len(rows) else None


def _value(table: Columns, id: str, column: str) -> Any:
    """Return one cell; Any, because columns have different types."""
    return table[column][_row(table, id)]


def _quantile(value: float, among: np.ndarray) -> float:
    finite = among[np.isfinite(among)]
    if not np.isfinite(value) or not len(finite):
        return float("nan")
    return float(((finite < value).sum() + (finite == value).sum() / 2) / len(finite))


def _measured(scores: Columns, id: str, is_peer: np.ndarray | None) -> dict[str, Score]:
    # Scores and assignments are both sorted by id.
    found = {}
    for name in scores.keys() - {"id"}:
        value = float(_value(scores, id, name))
        among = scores[name] if is_peer is None else scores[name][is_peer]
        found[name] = Score(value=value, quantile=_quantile(value, among))
    return dict(sorted(found.items()))


def _membership(assigned: Columns, id: str) -> ClusterMembership:
    cluster, distance = int(_value(assigned, id, "cluster")), float(_value(assigned, id, "distance"))
    peers = assigned["distance"][assigned["cluster"] == cluster]
    return ClusterMembership(cluster=cluster, size=len(peers), distance=distance, quantile=_quantile(distance, peers))


def _outcome(
    run: Run, step: int, id: str, features: Features | None, clustered: Clusters | None
) -> SelectionOutcome | None:
    selection = run.load(step, Selection)
    if selection is None:
        return None
    chosen, clusters, assigned = selection.table, selection.clusters, clustered.table() if clustered else None
    row = _row(chosen, id)
    place = PartOf.of(run, step, id, selection)
    ranked = None if place.is_whole else _rank(run, step, id, features, clustered, place)
    if ranked is not None and (ranked.rank < ranked.budget) != (row is not None):
        ranked = None  # selected by another version or by hand: only the saved table counts
    cluster = None if assigned is None else int(_value(assigned, id, "cluster"))
    is_own = clusters["cluster"] == cluster if cluster is not None else np.zeros(len(clusters["cluster"]), bool)
    in_table = np.flatnonzero(is_own & place.rows_of(clusters))
    entry = {name: column[in_table[0]] for name, column in clusters.items()} if len(in_table) else {}
    has_bins, num_chosen = ranked is not None and ranked.bin >= 0, place.total(len(chosen["id"]))
    decided = _reason(run, step, id, cluster, ranked, row is not None, num_chosen, entry, place)
    decided += _joint(clusters, entry, place)
    return SelectionOutcome(
        chosen=row is not None,
        reason=(place.reason(row is not None) or decided) + place.text,
        method=run.settings.selection.method,
        total=len(chosen["id"]),
        budget=int(entry["budget"]) if entry else None,
        scorer=str(entry["scorer"]) if entry else None,
        entropies={name.removeprefix("entropy_"): float(entry[name]) for name in entry if name.startswith("entropy_")},
        score=None if ranked is None else ranked.score,
        bin=None if ranked is None else ranked.bin,
        bin_size=ranked.bin_size if ranked and has_bins else None,
        bin_budget=ranked.bin_budget if ranked and has_bins else None,
        rank=None if ranked is None else ranked.rank,
    )


def _rank(
    run: Run, step: int, id: str, features: Features | None, clusters: Clusters | None, place: PartOf
) -> ClusterRank | None:
    if features is None or clusters is None:
        return None
    # Of parts that share the budget the method saw one at a time.
    rows = slice(None) if place.part is None else np.flatnonzero(place.is_beside(features.ids))
    with run.plugins():
        return rank_in_cluster(
            id,
            {name: score[rows] for name, score in features.scores.items()},
            clusters.labels[rows],
            features.ids[rows],
            run.settings.selection.budget if place.part is None else place.part.given,
            method=run.settings.selection.method,
            seed=run.seed("selection", step),
            centers=clusters.centers,
            distances=clusters.distances[rows],
            **run.selection_options,
        )


def _reason(
    run: Run,
    step: int,
    id: str,
    cluster: int | None,
    ranked: ClusterRank | None,
    chosen: bool,
    total: int,
    entry: dict[str, Any],
    part: PartOf,
) -> str:
    method = run.settings.selection.method
    unusable = None if chosen else unusable_samples(run, step).get(id)
    if unusable is not None:
        return f"not selectable: {unusable}"
    if cluster == -1:
        verb = "there was budget left after" if chosen else "the budget was used up by"
        return f"unscored: {verb} the scored samples"
    if ranked is None:
        whole = (
            f"of a pool of {len(run.pool(step)):,}" if part.part is None else f"of the {part.part.size:,} of its part"
        )
        where = f"of the {entry['size']:,} samples of its cluster" if entry else whole
        number = entry["budget"] if entry else total
        return f"{method} selected {number:,} {where}, {'including' if chosen else 'not including'} this one"
    place = f"rank {ranked.rank + 1:,} of {ranked.size:,} in its cluster, whose first {ranked.budget:,} were selected"
    if chosen:
        return place
    if ranked.bin >= 0:
        return f"{place}; {ranked.bin_budget:,} of the {ranked.bin_size:,} in its bin were selected, at random"
    if not np.isfinite(ranked.score):
        return f"{place}; samples without a score come after all samples with one"
    if run.selection_options.get("sampling", "ccs") == "ccs":
        return f"{place}; its score is among the lowest or highest {TAIL_PERCENT} % of the cluster, which come last"
    return place


def _joint(clusters: Columns, entry: dict[str, Any], place: PartOf) -> str:
    """Return how many samples were selected in the joint cluster, if the method joins clusters."""
    if "joint" not in entry:
        return ""
    among = (clusters["joint"] == entry["joint"]) & place.rows_of(clusters)
    gave, size = clusters["budget"][among].sum(), clusters["size"][among].sum()
    return f"; {gave:,} of {size:,} together with the {among.sum() - 1:,} clusters that it is joined with"


def _trained(run: Run, step: int, id: str, considered: SelectionOutcome | None) -> tuple[bool | None, str | None]:
    trained = run.load(step, Trained)
    if considered is None or trained is None:
        return None, None
    if not considered.chosen:
        return False, None
    if is_rolled_back(run, step):
        return False, "the gate rolled the step back, so that no later model has learnt from it"
    for key, reason in (
        ("unreadable", "its image could not be opened"),
        ("without_answer", "no answer token is left"),
        ("refused", "the model cannot use it"),
    ):
        if id in trained.info.get(key, ()):
            return False, reason
    return True, None


def _pruned(run: Run, step: int, id: str) -> PruningOutcome | None:
    pruning = run.load(step, SavedPruning)
    row = None if pruning is None else _row(pruning.table, id)
    if pruning is None or row is None:
        return None
    table = pruning.table
    neighbour = table["neighbour"][row] or None
    stored = find(stored_datasets(run.pool_folder), neighbour) if neighbour else None
    sample = stored.read() if stored else None
    return PruningOutcome(
        similarity=float(table["similarity"][row]),
        neighbour=neighbour,
        neighbour_stayed=bool(table["neighbour_stayed"][row]),
        neighbour_turns=sample.turns if sample else (),
        neighbour_images=tuple(map(place_of, sample.images)) if sample else (),
    )
