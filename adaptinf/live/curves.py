"""The losses of the last trainings of a run, the one under way included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from adaptinf.data import Trained
from adaptinf.errors import StoreError
from adaptinf.runs import Run
from adaptinf.runs.activity import Activity

MAX_CURVES = 5
"""Trainings that are shown."""
MAX_POINTS = 400
"""Points of a curve; of a longer log some are left out evenly."""


class Curve(NamedTuple):
    """The losses of one training."""

    step: int
    """Number of its step."""
    points: tuple[tuple[float, float | None], ...]
    """Optimiser step and loss; None: the loss was not finite."""
    is_under_way: bool
    """Whether it goes on, or was cut off."""


def curves_of(run: Run, activity: Activity) -> tuple[Curve, ...]:
    """Return the losses of the last trainings, oldest first; those of a log that is damaged are left out."""
    place, beat = activity.place, activity.beat
    found = list[Curve]()
    if place is not None and place.stage == Trained.stage and beat is not None and beat.losses:
        found.append(Curve(place.step, beat.losses, True))
    for step in range(run.num_begun - 1, -1, -1):
        if len(found) == MAX_CURVES:
            break
        if run.has(step, Trained):
            found += _finished(run, step)
    return tuple(reversed(found))


def _finished(run: Run, step: int) -> Iterator[Curve]:
    try:
        log = Trained.load(run.stage_folder(step, Trained)).log
    except StoreError:
        return  # the status says what is damaged
    points = [(_number(record.get("step"), at + 1), _loss(record.get("loss"))) for at, record in enumerate(log)]
    if points:
        yield Curve(step, tuple(points[:: -(-len(points) // MAX_POINTS)]), False)


# Any: what a trainer of the user's has written.
def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) else float(default)


def _loss(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
