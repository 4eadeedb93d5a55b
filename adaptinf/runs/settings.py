"""The settings of a run: every `auto` answered once, pinned with its first step, and the same for all later steps.

`Run.config` is what the user wrote; `Run.settings` is what the run works with. Steps write the settings to
steps/config.yaml, so that a changed default or another version of the package changes no run that has begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.config import HARNESS_KEYS, DatasetConfig, RunConfig, SelectionConfig, SkillConfig
from adaptinf.errors import ConfigError
from adaptinf.runs.given_adapter import with_given_lora
from adaptinf.runs.methods import cap_of, method_scope
from adaptinf.selection.options import SEPARATE_OPTIONS, default_options, known_options, with_current_names
from adaptinf.selection.traits import auto_settings
from adaptinf.storage import store

S = TypeVar("S", DatasetConfig, SkillConfig)

GROWING_KEYS = ("stream", "evaluation")
"""Lists that may have grown at their end between two calls."""
FREE_SETTINGS = (
    "executor", "workers", "gpus_per_worker", "worker_timeout", "ray", "plugins", "made_by", "model.device",
    "extraction.batch_tokens", "extraction.compile", "training.micro_batch_size", "training.gradient_checkpointing",
    "training.report_to", "training.timeout", "training.devices", "training.fsdp", "training.deepspeed",
)  # fmt: skip
"""Settings that may change between two calls on one run folder: results depend on them by rounding at most."""
OF_LATER_STEPS = ("extraction.refresh",)
"""Settings that may change too, as each step records what it did by them."""
OF_COMMANDS = ("training.command", "training.format")
"""Settings of an outside trainer that may change too: one that failed is repaired, also by another command."""
BEFORE_TESTS = "evaluation_engine"
"""The setting that may change until something has been tested: the engines' answers differ in more than rounding."""
ANSWERED = ("extraction.vector", "extraction.image", "clustering.clusters", "pruning.cap", "model.date", "model.dtype")
"""Settings whose `auto` is answered once: by the method, the day of the first step, and the last by its device."""

DAY = len("2026-11-28")
"""Characters of a time that are its day."""

FORMER_ANSWERS: dict[str, dict[str, Any]] = {
    "adapt_plus": {"extraction.vector": "hidden", "extraction.image": "unmeasured", "clustering.clusters": 300}
}
"""What methods answered in version 0.1, whose runs pinned `auto` itself."""
FORMER_ANSWERS_OF_OTHERS = {
    "extraction.vector": "gradient", "extraction.image": "removed", "clustering.clusters": "auto",
}  # fmt: skip
"""The same of every other built-in method."""
FORMER_OPTIONS: dict[str, dict[str, Any]] = {
    "adapt": {"budgets": "equal", "choose": "entropy", "sampling": "ccs"},
    "lite_adapt": {"budgets": "equal", "choose": "entropy", "sampling": "ccs"},
    "adapt_plus": {"num_joint_clusters": 30, "budgets": "equal", "tail": 0.05},
    "coincide": {"temperature": 0.1},
    "dbp": {"temperature": 0.5, "keep": "hardest"},
    "semdedup_random": {"epsilon": 0.01},
}
"""Defaults that the options of methods had in version 0.1; the other built-in methods had no options."""
FORMER_CAP_FACTOR = 4
"""Budgets in the cap that version 0.1 gave a pool."""
FORMER_UNCAPPED = frozenset({"multitask"})
"""Methods that had no cap."""
FORMER_METHODS = frozenset(
    ["adapt", "lite_adapt", "adapt_plus", "cluster_balanced", "coincide", "dbp", "multitask", "oracle", "random_replay"]
    + ["semdedup_random", "sequential"]
    + [
        f"{score}_{way}"
        for score in ("perplexity", "image_grounding", "el2n", "entropy", "grand")
        for way in ("top", "middle", "ccs")
    ]
)
"""Built-in methods of version 0.1."""


def resolve(config: RunConfig, pinned: RunConfig | None = None) -> RunConfig:
    """Return the configuration with every `auto` answered that the method answers, and with all of its options.

    Args:
        config: as the user wrote it.
        pinned: the settings that the run's steps use; None for a run without steps. Its answers come first, as they
            were given when the run began; those of a folder of version 0.1 stand in FORMER_ANSWERS.

    Raises:
        ConfigError: no such method, or it asks for a setting or a value that does not exist.
    """
    if pinned is not None and pinned.selection.method != config.selection.method:
        pinned = None
    method = config.selection.method
    answers, defaults = _answers(config, pinned)
    left_open = {place: value for place, value in answers.items() if _is_open(config, place)}
    # Checked, as a method of the user's may ask for a setting or a value that does not exist.
    config = configuration.with_settings(config, left_open, where=f"what the method {method} asks for")
    selection = config.selection
    with method_scope(config):
        own, left_out = (with_current_names(selection.method, one) for one in (selection.method_options, defaults))
    options = dict(sorted({**left_out, **own}.items()))
    # All options in one place, so that `budgets: equal` and leaving it out are the same.
    named: dict[str, Any] = dict.fromkeys(configuration.NAMED_OPTIONS)
    config = config.model_copy(update={"selection": selection.model_copy(update={**named, "options": options})})
    return with_given_lora(config, pinned)


def _answers(config: RunConfig, pinned: RunConfig | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return what answers `auto`, `section.key` -> value, and the values of options that the user left out."""
    method = config.selection.method
    if pinned is not None and pinned.made_by is not None and pinned.made_by.resolved:
        answers = {place: _value(pinned, place) for place in ANSWERED}
        return {**answers, "model.date": _day_of(pinned)}, pinned.selection.method_options
    if pinned is not None and method in FORMER_METHODS:
        cap = "none" if method in FORMER_UNCAPPED else FORMER_CAP_FACTOR * config.selection.budget
        answers = FORMER_ANSWERS.get(method, FORMER_ANSWERS_OF_OTHERS)
        return {**answers, "pruning.cap": cap, "model.date": _day_of(pinned)}, FORMER_OPTIONS.get(method, {})
    bound = cap_of(config)
    with registry.scope(config.plugins):
        answers = {**auto_settings(method), "pruning.cap": "none" if bound is None else bound}
        return {**answers, "model.date": store.utc_now()[:DAY]}, _plain(default_options(method))


def _day_of(pinned: RunConfig) -> str:
    """Return the day that chat templates get in a run with steps; one that has not pinned it gets its newest step's."""
    made_at = pinned.made_by.utc_time if pinned.made_by is not None else store.utc_now()
    return made_at[:DAY] if pinned.model.date == "auto" else pinned.model.date


def _is_open(config: RunConfig, place: str) -> bool:
    """Tell whether a setting, `section.key`, is left to the method; true for one that does not exist."""
    name, _, key = place.partition(".")
    return bool(getattr(getattr(config, name, None), key, "auto") == "auto")


def _value(config: RunConfig, place: str) -> Any:
    name, _, key = place.partition(".")
    return getattr(getattr(config, name), key) if key else getattr(config, name)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that YAML can hold, tuples as lists."""
    found = {}
    for name, value in options.items():
        plain = list(value) if isinstance(value, tuple) else value
        try:
            if name not in SEPARATE_OPTIONS and yaml.safe_load(yaml.safe_dump(plain)) == plain:
                found[name] = plain
        except yaml.YAMLError:
            continue
    return found


def unpinned_options(settings: RunConfig) -> list[str]:
    """Return the options of the method whose default cannot be written as YAML, so that no run can pin it.

    Args:
        settings: as `resolve` returns them.
    """
    with method_scope(settings):
        defaults = default_options(settings.selection.method)
    return sorted(defaults.keys() - settings.selection.options.keys() - set(SEPARATE_OPTIONS))


def method_options(config: RunConfig) -> dict[str, Any]:
    """Return the options of the configuration's method, as `select` takes them."""
    settings = config.selection
    scorers = {"scorers": settings.scorers} if "scorers" in known_options(settings.method) else {}
    return {**scorers, **settings.method_options}


def check_same(folder: Path, before: RunConfig, now: RunConfig, way_out: str, *, is_tested: bool = True) -> None:
    """Refuse settings that differ from those that a run was made with; lists that have grown at their end are the same.

    Those of FREE_SETTINGS and OF_LATER_STEPS may differ, and those of OF_COMMANDS where both have an outside trainer;
    that of BEFORE_TESTS too, unless something `is_tested`.

    Raises:
        ConfigError: the first setting that differs is named, and `way_out` says what to do.
    """
    free = _free(before, now)
    now = _with_settings_of(before, now, free if is_tested else (*free, BEFORE_TESTS))
    for key in ("selection", *RunConfig.model_fields):
        was, wanted = getattr(before, key), getattr(now, key)
        if was == wanted or has_grown(key, was, wanted):
            continue
        place, old, new = _first_difference(key, was, wanted)
        raise ConfigError(f"{folder} was made with {place}={old!r}, now it is {new!r}; {way_out}")


def free_changes(before: RunConfig, now: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return the settings that may differ and do, but for `made_by`: name -> value before, value now."""
    places = [place for place in (*_free(before, now), BEFORE_TESTS) if place != "made_by"]
    pairs = {place: (_value(before, place), _value(now, place)) for place in places}
    return {place: pair for place, pair in pairs.items() if pair[0] != pair[1]}


def _free(before: RunConfig, now: RunConfig) -> tuple[str, ...]:
    """Return the settings that may differ."""
    is_outside = None not in (before.training.command, now.training.command)
    return (*FREE_SETTINGS, *OF_LATER_STEPS, *(OF_COMMANDS if is_outside else ()))


def _with_settings_of(source: RunConfig, config: RunConfig, places: Iterable[str]) -> RunConfig:
    """Return a configuration with some settings as they are in another one."""
    for place in places:
        name, _, key = place.partition(".")
        changed = getattr(config, name).model_copy(update={key: _value(source, place)}) if key else _value(source, name)
        config = config.model_copy(update={name: changed})
    return config


def as_placed(config: RunConfig, before: RunConfig) -> RunConfig:
    """Return the configuration with the paths of model, datasets, tests and kept ids as they were: users move files.

    So are the commands that test skills: whether they ask the same is judged with the tests.
    """

    def placed(now: list[S], then: list[S]) -> list[S]:
        keys = ("path", "images", *HARNESS_KEYS)
        places = [{key: getattr(old, key) for key in keys if hasattr(old, key)} for old in then]
        return [new.model_copy(update=place) for new, place in zip(now, places, strict=False)] + now[len(then) :]

    changes = {
        "model": config.model.model_copy(update={"path": before.model.path, "adapter": before.model.adapter}),
        "commands_folder": before.commands_folder,
        "selection": _keeping_as(config.selection, before.selection),
        "stream": placed(config.stream, before.stream),
        "evaluation": placed(config.evaluation, before.evaluation),
    }
    return config.model_copy(update=changes)


def _keeping_as(now: SelectionConfig, before: SelectionConfig) -> SelectionConfig:
    """Return the section with the files of kept ids and of targets where they were.

    A file of kept ids that came later is one that has grown; targets are compared by content where they are measured.
    """
    placed = {} if now.keep is None else {"keep": before.keep}
    if None not in (now.targets, before.targets):
        placed["targets"] = before.targets
    return now.model_copy(update=placed)


def has_grown(key: str, before: Any, after: Any) -> bool:
    """Tell whether a setting is a list that begins as it was, of those that may grow (Any: of any setting)."""
    both = isinstance(before, list) and isinstance(after, list)
    return key in GROWING_KEYS and both and after[: len(before)] == before


def _first_difference(key: str, before: Any, after: Any) -> tuple[str, Any, Any]:
    """Return the first setting below `key` that differs: its place, what it was, what it is."""
    if isinstance(before, configuration.Section):
        for name in type(before).model_fields:
            if getattr(before, name) != getattr(after, name):
                return _first_difference(f"{key}.{name}", getattr(before, name), getattr(after, name))
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                return _first_difference(f"{key}.{name}", before.get(name), after.get(name))
    if isinstance(before, list) and isinstance(after, list):
        for number, (was, now) in enumerate(zip(before, after, strict=False)):
            if was != now:
                return _first_difference(f"{key}.{number}", was, now)
        return key, f"{len(before)} entries", f"{len(after)} entries"
    return key, before, after
