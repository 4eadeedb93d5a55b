"""How the settings of a run share a step's budget before its method chooses (docs/replay.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adaptinf.config import RunConfig
from adaptinf.data import Replay, SelectedPart
from adaptinf.errors import ConfigError
from adaptinf.pool import Pool
from adaptinf.runs import Run
from adaptinf.runs.methods import method_traits, own_candidates
from adaptinf.selection import Composition, compose
from adaptinf.selection.composition import in_rows
from adaptinf.words import counted

SHOWN_PARTS = 6
"""Parts that a line names."""


def weights_of(config: RunConfig, step: int | None = None) -> dict[int, float] | None:
    """Return step of arrival -> weight of the datasets that have one; None where no dataset has.

    `step`: only those that have arrived by then, as a step must not depend on what is added later; None: all.
    """
    arrived = config.stream if step is None else config.stream[: step + 1]
    named = {number: dataset.weight for number, dataset in enumerate(arrived) if dataset.weight is not None}
    return named or None


def composition_of(run: Run, step: int, pool: Pool, is_usable: np.ndarray) -> Composition | None:
    """Return the parts of a step's pool that share its budget, as rows of it; None: the method chooses from all.

    Args:
        run: the run.
        step: the step that selects.
        pool: its pool.
        is_usable: which samples of the pool are selectable.
    """
    settings = run.settings
    takes_parts = own_candidates(settings) is None
    share, weights = (settings.selection.replay_share, weights_of(settings, step)) if takes_parts else (None, None)
    is_kept = kept_arrivals(pool, step)
    if share is None and weights is None and not is_kept.any():
        return None
    rows = np.flatnonzero(is_usable)
    found = compose(
        pool.arrived[rows],
        is_kept[rows],
        len(pool) if method_traits(settings).whole_pool else settings.selection.budget,
        current_step=step,
        replay_share=share,
        weights=weights,
        seed=run.seed("selection", step),
    )
    return in_rows(found, rows)


def kept_arrivals(pool: Pool, step: int) -> np.ndarray:
    """Return which samples of a step's pool are kept ones of the dataset that arrives: they are drawn first."""
    found: np.ndarray = pool.arrived == step
    if not pool.kept:
        return np.zeros(len(pool), bool)
    rows = np.flatnonzero(found)
    found[rows] = [id in pool.kept for id in pool.ids[rows]]
    return found


def check_weights(run: Run, step: int, pool: Pool) -> None:
    """Check before anything is measured that the weights leave a step something to choose.

    Raises:
        ConfigError: the datasets that share its budget all have weight 0.
    """
    weights, settings = weights_of(run.settings, step), run.settings
    if weights is None or settings.selection.replay_share is not None or own_candidates(settings) is not None:
        return
    arrived = np.unique(pool.arrived).tolist()
    if arrived and not any(weights.get(number, 1.0) for number in arrived):
        names = ", ".join(settings.stream[number].name for number in arrived[:SHOWN_PARTS])
        raise ConfigError(
            f"stream: weight is 0 for all of {names}, and step {step} has no other dataset to choose from; "
            "give one of them a weight above 0"
        )


def problems(config: RunConfig, *, whole_stream: bool) -> list[str]:
    """Return a line per setting that leaves a step nothing to choose, or that the method cannot obey.

    `whole_stream`: no dataset is added later.
    """
    share, weights, why = config.selection.replay_share, weights_of(config), own_candidates(config)
    if why is not None:
        found = f"selection.replay_share={share:g} does not go with {why}; leave it out" if share is not None else None
        return [found] if found else []
    if weights is None:
        return []
    values = [weights.get(step, 1.0) for step in range(len(config.stream))]
    if not any(values) and (share is None or whole_stream):
        return [
            f"stream: weight is 0 for {'all ' if len(values) > 1 else ''}{counted(len(values), 'dataset')}, so nothing "
            f"could be {'chosen' if share is None else 'replayed'}; give one of them a weight above 0"
        ]
    if share is None and not values[0]:
        last = next(step for step, value in enumerate(values) if value) - 1
        return [
            f"stream: weight is 0 for {config.stream[0].name}, so step 0{f' to {last}' if last else ''} would have "
            "nothing to choose; give it a weight above 0, or set selection.replay_share"
        ]
    return []


def unused(config: RunConfig) -> list[str]:
    """Return a line where weights of datasets have no effect with the method, or keep a new dataset out."""
    weights, why = weights_of(config), own_candidates(config)
    if weights is None:
        return []
    if why is not None:
        return [f"stream: weight has no effect with {why}"]
    if config.selection.replay_share is not None:
        return []
    never = [config.stream[step].name for step, weight in weights.items() if not weight]
    return [
        f"stream: {name} has weight 0, so that none of it is trained on, at its own step either; with "
        "selection.replay_share it would be"
        for name in never
    ]


def described(parts: Sequence[SelectedPart], names: Sequence[str]) -> str:
    """Return how many samples each part gave, in a phrase; `names` are those of the datasets, by step of arrival."""
    told = [f"{_count(part)} {part_name(part, names)}" for part in parts if part.size or part.wanted]
    more = f" and {len(told) - SHOWN_PARTS:,} more parts" if len(told) > SHOWN_PARTS else ""
    return ", ".join(told[:SHOWN_PARTS]) + more


def _count(part: SelectedPart) -> str:
    wanted = f" (wanted {part.wanted:,})" if part.wanted != part.given else ""
    return f"{part.given:,} of {part.size:,}{wanted}"


def part_name(part: SelectedPart, names: Sequence[str]) -> str:
    """Return what a part consists of: "kept", "of the new dataset m3it", "of earlier datasets", "of llava665k"."""
    if part.side == "kept":
        return "kept"
    named = None if part.arrived is None else names[part.arrived]
    if part.side == "new":
        return f"of the new dataset {named}"
    if named is None:
        return "of earlier datasets" if part.side == "old" else "of the rest"
    return f"of {named}"


def side_name(part: SelectedPart, names: Sequence[str]) -> str:
    """Return a part as the place of one sample: "of the old side", "of llava665k, on the old side"."""
    if part.side == "kept":
        return "of the kept samples"
    named = None if part.arrived is None or part.side == "new" else f"of {names[part.arrived]}"
    if part.side == "pool":
        return named or "of those that are not kept"
    return f"{named}, on the {part.side} side" if named else f"of the {part.side} side"


def replay_line(replay: Replay) -> str:
    """Return what came of the share of earlier datasets, in a phrase."""
    return f"{replay.given:,} of earlier datasets, {replay.wanted:,} wanted"


def notes(run: Run, parts: Sequence[SelectedPart], num_selected: int) -> Iterator[str]:
    """Yield what to know of a selection in parts: what each gave, and that it is smaller than the budget if it is."""
    names = [dataset.name for dataset in run.settings.stream]
    yield f"selected {num_selected:,}: {described(parts, names)}"
    if num_selected < run.settings.selection.budget and own_candidates(run.settings) is None:
        yield f"only {num_selected:,} of the budget of {run.settings.selection.budget:,}: no more may be selected"
