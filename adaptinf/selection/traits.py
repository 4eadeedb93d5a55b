"""What a method says of itself in class variables: what it is for, what it trains on, which settings suit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from adaptinf.registry import selector
from adaptinf.words import check_name

Role = Literal["method", "baseline", "lower reference", "upper reference", "reference"]
"""What a method is compared as.

`baseline`: what every method must beat. The relative gain is in percent of the upper reference, or else of the best
that the lower reference reached. `reference`: there for comparison only, for another reason.
"""
PAPER_SETTINGS = {"extraction.vector": "gradient", "extraction.image": "removed", "clustering.clusters": "auto"}
"""What the paper does where settings say `auto`; a method that needs something else has `auto_settings`."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Class variables that a selector may have beside `needs`, with the values of one that has none of them."""

    role: Role = "method"
    """What the method is compared as."""
    whole_pool: bool = False
    """Whether it trains on the whole pool, whatever the budget; then `pruning.cap: auto` means no cap."""
    capped_in_comparisons: bool = False
    """Whether `adaptinf compare` and `demo` prune its pool to the cap; other methods keep their whole pool there."""
    needs_same_step: bool = False
    """Whether all samples must be measured with one model; then `extraction.refresh` other than all is refused."""


def traits_of(method: str) -> Traits:
    """Return the traits of a method; the defaults for one that is not registered, as in the table of another machine.

    Raises:
        ConfigError: the selector has a role that does not exist.
    """
    entry = selector.get(method)
    # Any: the fields differ in type.
    found: dict[str, Any] = {field.name: getattr(entry, field.name, field.default) for field in fields(Traits)}
    check_name(f"role of the selector {method}", found["role"], get_args(Role))
    return Traits(**found)


def methods_with_role(role: Role) -> list[str]:
    """Return the names of the registered methods that have a role, sorted."""
    return [name for name in selector.names() if traits_of(name).role == role]


def auto_settings(method: str) -> Mapping[str, Any]:
    """Return the values of the settings that are `auto`, for one method: `section.key` -> value.

    They are the class variable `auto_settings`, called `wishes` in version 0.1, and else the paper's.

    Raises:
        ConfigError: no such method.
    """
    entry = selector[method]
    return {**PAPER_SETTINGS, **getattr(entry, "auto_settings", getattr(entry, "wishes", {}))}


def history_scores(method: str) -> tuple[str, ...]:
    """Return the scores of earlier steps that a method chooses by: its class variable `history_scores`, or none.

    Raises:
        ConfigError: no such method.
    """
    return tuple(getattr(selector[method], "history_scores", ()))


def allowed_settings(method: str) -> Mapping[str, tuple[Any, ...]]:
    """Return the settings that a method works with only some values of: `section.key` -> these values.

    They are the class variable `allowed_settings`; none for a method without it.

    Raises:
        ConfigError: no such method.
    """
    return dict(getattr(selector[method], "allowed_settings", {}))
