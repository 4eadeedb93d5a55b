"""What is wrong with a configuration, in words: the place, the value, and the key or value that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from adaptinf.config.schema import RunConfig
from adaptinf.words import escaped, shortened

SIMILAR_HERE, SIMILAR_ELSEWHERE = 0.5, 0.8
"""Least similarity of a key that is suggested: of the same section, and of another where none here is so similar."""

MEANT = {
    "datasets": "stream", "dataset": "stream", "train_data": "stream", "test": "evaluation", "tests": "evaluation",
    "eval": "evaluation", "file": "path", "files": "path", "folder": "path", "data_path": "path", "data": "path",
    "image_folder": "images", "image_dir": "images", "strategy": "method", "selector": "method", "algorithm": "method",
    "gpus": "devices", "num_gpus": "devices", "num_epochs": "epochs", "num_train_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch_size", "r": "rank", "lora_rank": "rank", "lora_alpha": "alpha",
    "torch_dtype": "dtype", "precision": "dtype", "model_name_or_path": "path", "max_seq_length": "max_length",
}  # fmt: skip
"""Names that other tools have for our settings."""


def mistake_lines(error: ValidationError) -> list[str]:
    """Return a line per mistake: its place, its value, what is wrong with it.

    A value that fits no branch of a union is reported once, with what each branch accepts.
    """
    places: dict[str, list[str]] = {}
    for item in error.errors():
        place, message = _explain(item)
        places.setdefault(place, []).append(message)
    return [f"{place}: {', or: '.join(messages)}" for place, messages in places.items()]


def _explain(item: Any) -> tuple[str, str]:
    """Return the place of one mistake and what is wrong; `item` is one of pydantic's error dictionaries."""
    location = [part for part in item["loc"] if not _is_branch_tag(part)]
    place = ".".join(escaped(str(part)) for part in location)
    if item["type"] == "extra_forbidden":
        return place, f"unknown key; {_meant_key(location)}"
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if shape := _meant_shape(location, item):
        return place, shape
    if item["type"] in ("missing", "value_error") or isinstance(item["input"], dict | list):
        return place or "the file", message
    return f"{place}={item['input']!r}", f"{_meant_value(item)}{message}{_meant_sibling(location, item['input'])}"


def _meant_shape(location: list[str | int], item: Any) -> str:
    """Return how a value is written that stands where a section or a list belongs; empty for other mistakes."""
    value = item["input"]
    if item["type"] in ("model_type", "model_attributes_type") and isinstance(value, str):
        fields = _section_at(location).model_fields
        first = next((name for name in ("path", "method") if name in fields), None)
        meant = (
            f"did you mean {{{first}: {shortened(value)}}}?" if first else f"known here: {', '.join(sorted(fields))}"
        )
        return f"keys and values belong here, not {shortened(value)!r}; {meant}"
    if item["type"] == "list_type" and isinstance(value, str | dict) and _holds_sections(location):
        inner = f"path: {shortened(value)}, ..." if isinstance(value, str) else ", ".join(map(str, value))
        return f"a list belongs here, one entry each; did you mean [{{{inner}}}]?"
    return ""


def _holds_sections(location: list[str | int]) -> bool:
    """Tell whether the entries of the list at a location are sections."""
    *parents, key = location
    field = _section_at(parents).model_fields.get(str(key))
    return field is not None and _section_of(field.annotation) is not None


def _is_branch_tag(part: str | int) -> bool:
    """Tell whether a location part names a branch of a union (`constrained-int`, `literal[...]`) rather than a key."""
    return isinstance(part, str) and (part in ("int", "list[int]") or part.startswith(("constrained", "literal[")))


def _meant_key(location: list[str | int]) -> str:
    """Return the known key that was probably meant: of the same section, or of another."""
    *parents, key = location
    here = sorted(_section_at(parents).model_fields)
    if renamed := _renamed(str(key), here):
        return f"did you mean {renamed!r}?"
    similarity = {name: _similarity(str(key), name) for name in here}
    elsewhere = {place: _similarity(str(key), place.rpartition(".")[2]) for place in _places(RunConfig)}
    best_here = max(similarity, key=lambda name: similarity[name])
    best = max(elsewhere, key=lambda place: elsewhere[place])
    if similarity[best_here] < SIMILAR_ELSEWHERE <= elsewhere[best]:
        return f"did you mean {best!r}?"
    if similarity[best_here] >= SIMILAR_HERE:
        return f"did you mean {best_here!r}?"
    return f"known here: {', '.join(here)}"


def _renamed(key: str, here: Sequence[str]) -> str | None:
    """Return the setting that a key of another tool, or the first letters of its words (`lr`), stand for."""
    short = {"".join(word[0] for word in name.split("_")): name for name in here if "_" in name}
    for name in (MEANT.get(key), short.get(key)):
        if name in here:
            return name
    places = [place for place in _places(RunConfig) if place.rpartition(".")[2] == MEANT.get(key)]
    return places[0] if len(places) == 1 else None


def _similarity(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


def _meant_value(item: Any) -> str:
    """Return a question about the allowed text that is most similar to the value; empty if there is none."""
    allowed = re.findall(r"'([^']*)'", str(item.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(str(item["input"]).lower(), allowed, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _meant_sibling(location: list[str | int], value: Any) -> str:
    """Return a hint at a key of the same section with nearly the same name that takes the value; empty without one."""
    *parents, key = location
    fields = _section_at(parents).model_fields
    for name in difflib.get_close_matches(str(key), [name for name in fields if name != key], cutoff=SIMILAR_ELSEWHERE):
        try:
            # Any: the type of a field is known at run time only.
            wanted: Any = Annotated[fields[name].annotation, fields[name]]
            TypeAdapter(wanted).validate_python(value)
        except ValidationError:
            continue
        place = ".".join(str(part) for part in [*parents, name])
        return f"; did you mean {place}?"
    return ""


def _section_at(location: list[str | int]) -> type[BaseModel]:
    """Return the section at a location such as ("model", "lora") or ("stream", 0)."""
    section: type[BaseModel] = RunConfig
    for part in location:
        if not isinstance(part, int):
            section = _section_of(section.model_fields[part].annotation) or RunConfig
    return section


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, alone or in a list; None for a field of values."""
    for inner in (annotation, *get_args(annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return None


def _places(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the place of every setting: `seed`, `model.lora.rank`, `stream.0.path`."""
    fields: Mapping[str, Any] = section.model_fields
    for name, field in fields.items():
        inner = _section_of(field.annotation)
        if name == "made_by":
            continue
        yield f"{prefix}{name}"
        if inner is not None:
            yield from _places(inner, f"{prefix}{name}." + ("0." if field.annotation is not inner else ""))
