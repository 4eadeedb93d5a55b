"""Step 2: choose the samples to train on (docs/selection.md).

`methods/multiway.py` is the method of the paper, `entropy.py` and `coverage.py` its two parts. Every other selector is
one file, and so is yours: the interface is in `interface.py`.

Shapes: N samples, D vector dims, H embedding dims, K clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adaptinf.arrays.budgets import allocate, checked_count
from adaptinf.data import Replay, SelectedPart, Selection
from adaptinf.errors import AdaptError, ConfigError
from adaptinf.selection.composition import Composition, compose
from adaptinf.selection.history import History
from adaptinf.selection.inputs import gather, text_skills
from adaptinf.selection.interface import Candidates, Choice, ClusterRank, Ranking, Restricting, Selector
from adaptinf.selection.options import known_options, with_options
from adaptinf.selection.rank import rank_in_cluster
from adaptinf.selection.result import Chosen, Outcome, as_selection, merge, stack, whole
from adaptinf.selection.targets import Targets
from adaptinf.selection.tiers import tiers_of
from adaptinf.selection.traits import Traits, auto_settings, history_scores, traits_of

__all__ = [
    "Candidates",
    "Choice",
    "ClusterRank",
    "Composition",
    "History",
    "Ranking",
    "Restricting",
    "Selector",
    "Targets",
    "Traits",
    "allocate",
    "auto_settings",
    "compose",
    "known_options",
    "rank_in_cluster",
    "select",
    "traits_of",
    "wishes",
    "with_options",
]

wishes = auto_settings
"""Former name of `auto_settings`: plug-ins written for version 0.1 import it."""


def select(
    scores: Mapping[str, Any] | None,
    labels: Any,
    ids: Sequence[str] | np.ndarray,
    budget: int,
    *,
    method: str = "adapt",
    seed: int = 0,
    vectors: Any = None,
    embeddings: Any = None,
    centers: Any = None,
    distances: Any = None,
    arrived: Any = None,
    skills: Any = None,
    history: History | None = None,
    targets: Targets | None = None,
    current_step: int | None = None,
    composition: Composition | None = None,
    **options: Any,
) -> Selection:
    """Return exactly min(budget, N) different samples, the same for every order of the rows.

    The one exception is a selector that restricts its candidates (`sequential`): it returns min(budget, their number).
    Unscored samples, those of cluster -1 or without any finite score, are taken only after every other.

    Args:
        scores: scorer name -> N numbers; NaN and infinities count as missing.
        labels: N cluster numbers, -1 for none; may be None for a method without clusters.
        ids: N different ids.
        budget: samples to choose.
        method: name of a registered selector.
        seed: already derived from run seed, stage and step; draws of two seeds overlap as chance says.
        vectors: N x D.
        embeddings: N x H.
        centers: K x D.
        distances: N distances to the own center.
        arrived: N steps at which the samples joined the pool.
        skills: N names of true skills, None or empty where unknown.
        history: what earlier steps know of the N samples.
        targets: examples of what the model shall get better at.
        current_step: the step that selects; None: that of the newest sample.
        composition: parts of the rows with a budget each, inside of which the method chooses; None: it chooses among
            all rows, `budget` of them. With parts, their budgets count instead.
        options: of the method; see `known_options`.

    Raises:
        ConfigError: an unknown method or option, a budget that is no whole number, or an input that the method needs
            and did not get.
        DataError: lengths do not fit, or an id occurs twice.
    """
    chooser = with_options(method, options)
    budget = checked_count(budget, "budget")
    inputs = {
        "scores": scores or None,
        "labels": labels,
        "vectors": vectors,
        "embeddings": embeddings,
        "centers": centers,
        "distances": distances,
        "arrived": arrived,
        "skills": text_skills(skills),
        "history": history,
        "targets": targets,
    }
    _check_needs(method, chooser, inputs)
    candidates, order = gather(ids, inputs, seed, needs=chooser.needs, current_step=current_step)
    if composition is None:
        return as_selection(_choose(method, chooser, candidates, budget), candidates, order)
    return _in_parts(method, chooser, candidates, order, composition)


def _in_parts(
    method: str, chooser: Selector, candidates: Candidates, order: np.ndarray, composition: Composition
) -> Selection:
    """Return what the method chooses inside of each part, as if the part were all that there is."""
    outcomes = []
    for part in composition.parts:
        is_in = np.zeros(len(candidates), dtype=bool)
        is_in[part.rows] = True
        among = np.flatnonzero(is_in[order])
        own = candidates.take(among)
        outcome = whole(own) if part.side == "kept" else _choose(method, chooser, own, part.budget)
        outcomes.append(outcome._replace(rows=among[outcome.rows]))
    selection = as_selection(stack(outcomes), candidates, order)
    given = [len(outcome.rows) for outcome in outcomes]
    parts = tuple(
        SelectedPart(side=part.side, arrived=part.dataset, size=len(part.rows), wanted=part.wanted, given=count)
        for part, count in zip(composition.parts, given, strict=True)
    )
    return replace(selection, parts=parts, replay=_replay(composition, parts))


def _replay(composition: Composition, parts: Sequence[SelectedPart]) -> Replay | None:
    if composition.old_wanted is None:
        return None
    return Replay(wanted=composition.old_wanted, given=sum(part.given for part in parts if part.side == "old"))


def _check_needs(method: str, chooser: Selector, inputs: Mapping[str, Any]) -> None:
    missing = sorted(name for name in chooser.needs if inputs[name] is None)
    if missing:
        raise ConfigError(f"{method} needs {' and '.join(missing)}; pass {missing[0]}=... or choose another method")
    remembered = inputs["history"].scores if "history" in chooser.needs else {}
    if lacking := [name for name in history_scores(method) if name not in remembered]:
        raise ConfigError(f"{method} needs the score {lacking[0]} of earlier steps; give it in history.scores")


def _choose(method: str, chooser: Selector, candidates: Candidates, budget: int) -> Outcome:
    """Return the method's choice among scored samples, then among those without a score, then any of cluster -1."""
    tiers = tiers_of(chooser, candidates)
    parts = []
    for rows in (tiers.scored, tiers.unscored):
        share = min(budget, len(rows))
        parts.append(Chosen(rows, _checked_choice(method, chooser, candidates.take(rows), share)))
        budget -= share
    drawn = np.argsort(candidates.keys("unscored")[tiers.unclustered], kind="stable")[:budget]
    return merge([*parts, Chosen(tiers.unclustered, Choice(rows=drawn))])


def _checked_choice(method: str, chooser: Selector, candidates: Candidates, budget: int) -> Choice:
    choice = chooser.choose(candidates, budget)
    num_different = len(np.unique(choice.rows))
    if len(choice.rows) != budget or num_different != budget:
        raise AdaptError(
            f"{method} chose {len(choice.rows)} rows, {num_different} different, of {budget}; repair its choose()"
        )
    return choice
