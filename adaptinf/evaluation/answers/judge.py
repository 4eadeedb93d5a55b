"""A metric with its options set: whatever its shape, it gives items their scores.

A metric is a function of `(prediction, answer)`, of `(item)` or of `(items)`, told apart by the names of its
parameters; all its other parameters have a default and are its options. One of `(items)` returns a score for each, or
a function that gives an item its score.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from adaptinf import registry
from adaptinf.errors import AdaptError, ConfigError
from adaptinf.evaluation.answers.item import Item
from adaptinf.words import known_names, one_line, shortened

# Any in this module: what a metric's options take is between it and its caller.

Shape = Literal["pair", "item", "items"]
"""What a metric compares: a prediction with one answer (the best of them counts), an item, or all items of a skill."""
SHOWN_CHARACTERS = 80
"""Characters of a value that a message shows."""
_SHAPES: Mapping[int, Shape] = {1: "item", 2: "pair"}
_ALL_ITEMS = "items"
_ROUNDING = 1e-9
"""A score is off by less than this where sums of fractions are rounded."""
_F = TypeVar("_F", bound=Callable[..., Any])


class Option(NamedTuple):
    """An option of a metric."""

    default: Any
    """Its value where none is set."""
    kind: Any
    """Its type; `inspect.Parameter.empty` where the metric names none."""


class Signature(NamedTuple):
    """How a metric is called."""

    shape: Shape
    options: Mapping[str, Option]


def refined(
    *,
    candidates: Callable[..., Iterable[str]] | None = None,
    remark: Callable[..., str | None] | None = None,
) -> Callable[[_F], _F]:
    """Return the decorator of a metric that knows more about predictions than that they are texts.

    Args:
        candidates: (item, options of the metric) -> further texts that the prediction may mean, for the tolerant score.
        remark: (item, options of the metric) -> what is odd about the prediction, in a phrase; items with one phrase
            are counted and shown.
    """

    def refine(function: _F) -> _F:
        function.candidates = candidates  # type: ignore[attr-defined]
        function.remark = remark  # type: ignore[attr-defined]
        return function

    return refine


@dataclass(frozen=True)
class Judge:
    """A metric with its options."""

    name: str
    """Name of the metric."""
    function: Any
    """What is registered under it."""
    shape: Shape
    """What it compares."""
    options: Mapping[str, Any]
    """The options that are set."""

    @classmethod
    def named(cls, name: str, options: Mapping[str, Any] | None = None) -> Judge:
        """Return a registered metric with its options set.

        Raises:
            ConfigError: no such metric, an option that it does not take, or a value that an option cannot have.
        """
        function = registry.metric[name]
        signature = _signature(name, function)
        for option, value in (options or {}).items():
            if option not in signature.options:
                known = known_names(option, signature.options) if signature.options else "it takes none"
                raise ConfigError(f"metric {name} has no option {option!r}; {known}")
            _check_value(f"option {option} of metric {name}", value, signature.options[option].kind)
        return cls(name, function, signature.shape, dict(options or {}))

    def scores(self, items: Sequence[Item]) -> np.ndarray:
        """Return the strict score of each item (N float64).

        Raises:
            ConfigError: the metric gives something else than numbers from 0 to 1.
        """
        one = self.scorer(items)
        if one is not None:
            return np.array([one(item) for item in items], dtype=np.float64)
        found = self._asked(lambda: list(self.function(tuple(items), **self.options)))
        if len(found) != len(items):
            raise ConfigError(f"metric {self.name} gives {len(found)} scores to {len(items)} items; repair it")
        return np.array([self._checked(value) for value in found], dtype=np.float64)

    def scorer(self, items: Sequence[Item]) -> Callable[[Item], float] | None:
        """Return what gives one of the items, with any prediction, its score; None: all items are scored together."""
        if self.shape != "items":
            return lambda item: self._checked(self._asked(lambda: self._score(item)))
        # A tuple, as a metric that sorts a list in place would give the scores to other items.
        found = self._asked(lambda: self.function(tuple(items), **self.options)) if items else self._score
        return (lambda item: self._checked(self._asked(lambda: found(item)))) if callable(found) else None

    def candidates(self, item: Item) -> list[str]:
        """Return the further texts that the metric itself sees in a prediction."""
        own = getattr(self.function, "candidates", None)
        return [] if own is None else list(own(item, **self.options))

    def remark(self, item: Item) -> str | None:
        """Return what is odd about a prediction, in a phrase; None: nothing."""
        own = getattr(self.function, "remark", None)
        found: str | None = None if own is None else own(item, **self.options)
        return found

    def _score(self, item: Item) -> Any:
        if self.shape == "item":
            return self.function(item, **self.options)
        return max(self.function(item.prediction, answer, **self.options) for answer in item.answers)

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Return what a call of the metric gives."""
        try:
            return call()
        except AdaptError:
            raise
        except Exception as error:  # a metric may be a file of the user's: it can raise anything
            cause = f"{type(error).__name__}: {shortened(one_line(error), SHOWN_CHARACTERS)}"
            raise ConfigError(f"metric {self.name} fails ({cause}); repair it") from error

    def _checked(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not -_ROUNDING <= number <= 1.0 + _ROUNDING:
            shown = shortened(repr(value), SHOWN_CHARACTERS)
            raise ConfigError(f"metric {self.name} gives the score {shown}, not a number from 0 to 1; repair it")
        return min(1.0, max(0.0, number))


def options_of(name: str) -> Mapping[str, Option]:
    """Return the options of a metric by name.

    Raises:
        ConfigError: no such metric, or it cannot be called as one.
    """
    return _signature(name, registry.metric[name]).options


def _signature(name: str, function: Any) -> Signature:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a function of another language may not say what it takes
        return Signature("pair", {})
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    given = [one for one in parameters if one.default is one.empty and one.kind not in variable]
    if not given and any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return Signature("pair", {})
    by_name = [one.name for one in given if one.kind is inspect.Parameter.KEYWORD_ONLY]
    if len(given) not in _SHAPES or by_name:
        shown = shortened(", ".join(one.name for one in given), SHOWN_CHARACTERS)
        raise ConfigError(
            f"metric {name} takes ({shown}); a metric takes (prediction, answer), (item) or (items), "
            "and its options have a default"
        )
    shape = "items" if [one.name for one in given] == [_ALL_ITEMS] else _SHAPES[len(given)]
    kinds = _kinds(function)
    rest = [one for one in parameters if one.default is not one.empty]
    return Signature(shape, {one.name: Option(one.default, kinds.get(one.name, one.empty)) for one in rest})


def _kinds(function: Any) -> dict[str, Any]:
    """Return the types that a function names; none where they cannot be found out, as in some users' files."""
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _check_value(what: str, value: Any, kind: Any) -> None:
    if kind is inspect.Parameter.empty:
        return
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].lower().replace("input ", "it ")
        raise ConfigError(f"{what} is {shortened(repr(value), SHOWN_CHARACTERS)}; {reason}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
