"""A selector's options: the fields of its dataclass, checked by name and value before anything is measured.

An option is called as its field is, or as the field's metadata says under OPTION: `choose` is an option of `adapt`, but
as a field it would hide the method of that name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from adaptinf.errors import ConfigError
from adaptinf.registry import selector
from adaptinf.selection.interface import Selector
from adaptinf.words import known_names

OPTION = "option"
"""Key of a field's metadata: the option's name where it differs from the field's."""
FORMER = "former"
"""Key of a field's metadata: the option's name in an earlier version, which files may still use."""
SEPARATE_OPTIONS = ("scorers",)
"""Options that are settings of their own in a configuration."""


def known_options(method: str) -> tuple[str, ...]:
    """Return the names of a method's options.

    Raises:
        ConfigError: no such method.
    """
    return tuple(_fields(method))


def default_options(method: str) -> dict[str, Any]:
    """Return the options of a method that have a default, with it.

    Raises:
        ConfigError: no such method.
    """
    names = {field: option for option, field in _fields(method).items()}
    found = {}
    for field in dataclasses.fields(selector[method]):
        if field.name in names and field.default is not dataclasses.MISSING:
            found[names[field.name]] = field.default
        elif field.name in names and field.default_factory is not dataclasses.MISSING:
            found[names[field.name]] = field.default_factory()
    return found


def is_option(method: str, name: str) -> bool:
    """Tell whether a method has an option of this name, or had one that is called something else now.

    Raises:
        ConfigError: no such method.
    """
    return name in _fields(method) or name in _former_names(method)


def with_current_names(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a method under the names that they have now; unchanged for a method that is not registered.

    Raises:
        ConfigError: an option under both of its names.
    """
    former, found = _former_names(method), {}
    for name, value in options.items():
        current = former.get(name, name)
        if current in found:
            raise ConfigError(f"{name} is the former name of {current}, an option of {method}; set only {current}")
        found[current] = value
    return found


def with_options(method: str, options: Mapping[str, Any]) -> Selector:
    """Return a method's selector with its options set.

    Raises:
        ConfigError: no such method, an option that it does not know, or a value that an option cannot have.
    """
    fields, options = _fields(method), with_current_names(method, options)
    for name in options:
        if name not in fields:
            known = f"{method} has no option {name!r}; {known_names(name, fields)}"
            others = [other for other in selector.names() if is_option(other, name)]
            raise ConfigError(f"{known}; methods that have {name}: {', '.join(others)}" if others else known)
    # Lists come from YAML; a frozen dataclass holds tuples.
    values = {fields[name]: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    chooser: Selector = selector[method](**values)
    return chooser


def _fields(method: str) -> dict[str, str]:
    """Return option name -> field name."""
    fields = dataclasses.fields(selector[method])
    return {field.metadata.get(OPTION, field.name): field.name for field in fields if field.init}


def _former_names(method: str) -> dict[str, str]:
    """Return former option name -> option name; none for a method that is not registered."""
    entry = selector.get(method)
    fields = () if entry is None else dataclasses.fields(entry)
    return {
        field.metadata[FORMER]: field.metadata.get(OPTION, field.name) for field in fields if FORMER in field.metadata
    }


def check_positive(option: str, value: object) -> None:
    """Refuse what is not a positive finite number.

    Raises:
        ConfigError: with the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(f"selection.{option}={value!r} must be a positive number")
