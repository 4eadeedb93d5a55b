"""What a run's method says of itself, wherever the method is defined, and the cap that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adaptinf import registry
from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.selection.traits import Traits, traits_of

FEATURE_INPUTS = frozenset({"scores", "labels", "vectors", "embeddings", "centers", "distances", "targets"})
"""A selector that needs one of these needs the pool to be extracted and clustered first."""
ARRAY_INPUTS = frozenset({"vectors", "embeddings"})
"""The largest of them, which finished steps may have dropped."""
CAP_FACTOR = 4
"""The default cap is this many budgets (docs/pruning.md)."""


@contextmanager
def method_scope(config: RunConfig) -> Iterator[None]:
    """Return a block in which the method of a configuration is known, wherever it is defined.

    Plug-in files are loaded for a method only that the whole process does not have. Where they cannot be loaded any
    more, the method is unknown in the block: a report of a finished run does without them.
    """
    with registry.scope():
        is_shared = registry.selector.get(config.selection.method) is not None
    try:
        scope = registry.open_scope(() if is_shared else config.plugins)
    except ConfigError:
        scope = registry.open_scope()
    with scope.active():
        yield


def method_traits(config: RunConfig) -> Traits:
    """Return the traits of the method; the defaults where the files that define it are gone."""
    with method_scope(config):
        return traits_of(config.selection.method)


def measures(config: RunConfig) -> bool:
    """Tell whether the method needs measurements of the model; false where the files that define it are gone."""
    return bool(FEATURE_INPUTS & _needs(config))


def array_inputs(config: RunConfig) -> frozenset[str]:
    """Return which arrays of the features the method selects by."""
    return ARRAY_INPUTS & _needs(config)


def _needs(config: RunConfig) -> frozenset[str]:
    with method_scope(config):
        method = registry.selector.get(config.selection.method)
        return frozenset() if method is None else frozenset(method.needs)


def own_candidates(config: RunConfig) -> str | None:
    """Return why the method cannot choose inside of parts of the pool, with its name; None: it can.

    Such a method trains on the whole pool, or restricts the candidates itself. One whose files are gone can.
    """
    method = config.selection.method
    with method_scope(config):
        entry = registry.selector.get(method)
        if entry is None:
            return None
        if traits_of(method).whole_pool:
            return f"{method}, which trains on the whole pool"
        return f"{method}, which chooses its candidates itself" if hasattr(entry, "eligible") else None


def cap_of(config: RunConfig) -> int | None:
    """Return how many samples the pool holds after a step; None: no cap.

    With `pruning.cap: auto` it is CAP_FACTOR times the budget, or none for a method that trains on the whole pool.
    """
    cap = config.pruning.cap
    if isinstance(cap, int):
        return cap
    is_capped = cap == "auto" and not method_traits(config).whole_pool
    return CAP_FACTOR * config.selection.budget if is_capped else None
