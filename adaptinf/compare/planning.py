"""The runs of a comparison: one per row and seed, with folder and settings, all checked before the first one starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptinf import registry
from adaptinf.compare.variants import Cap, ComparisonRow, row_config
from adaptinf.config import RunConfig
from adaptinf.runs import preflight

STOP_WARNS = "evaluation_gate.action: stop acts as warn in a comparison, which goes on with every row"
ConfigOf = Callable[[int, str], RunConfig]
"""(seed, method) -> the settings that all rows of the method share."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a comparison."""

    row: ComparisonRow
    """Its row."""
    seed: int
    """Its seed."""
    folder: Path
    """Its run folder."""
    config: RunConfig
    """Its settings."""
    label: str
    """Its name in progress lines."""
    notes: tuple[str, ...] = ()
    """What is done otherwise than its settings say, a sentence each."""


def same_config(config: RunConfig) -> ConfigOf:
    """Return a function that gives every seed the same settings, for a stream.yaml: one set of data and one base."""
    return lambda seed, _: config.model_copy(update={"seed": seed})


def plan(
    rows: Sequence[ComparisonRow],
    seeds: Sequence[int],
    config_of: ConfigOf,
    folder_of: Callable[[ComparisonRow, int], Path],
    *,
    cap: Cap | None = None,
) -> list[PlannedRun]:
    """Return every run, ordered by seed, so that the first runs to finish are pairs of one seed.

    Raises:
        ConfigError: unknown method or setting.
    """
    methods = dict.fromkeys(row.method for row in rows)
    configs = {(seed, method): config_of(seed, method) for seed in seeds for method in methods}
    return [
        _planned(
            row,
            seed,
            folder=folder_of(row, seed),
            config=_config_of_row(configs[seed, row.method], row, seed, cap),
            label=f"{row.name} {seed}" if len(seeds) > 1 else row.name,
        )
        for seed in seeds
        for row in rows
    ]


def _planned(row: ComparisonRow, seed: int, *, folder: Path, config: RunConfig, label: str) -> PlannedRun:
    """Return a run, with a gate that warns in place of one that stops: a comparison goes on without its user."""
    gate = config.evaluation_gate
    if gate is None or gate.action != "stop":
        return PlannedRun(row=row, seed=seed, folder=folder, config=config, label=label)
    warning = config.model_copy(update={"evaluation_gate": gate.model_copy(update={"action": "warn"})})
    return PlannedRun(row=row, seed=seed, folder=folder, config=warning, label=label, notes=(STOP_WARNS,))


def _config_of_row(config: RunConfig, row: ComparisonRow, seed: int, cap: Cap | None) -> RunConfig:
    with registry.scope(config.plugins):
        return row_config(config, row, seed, cap=cap)


def check_plan(planned: Sequence[PlannedRun]) -> None:
    """Check the settings of every run before any folder is made.

    Raises:
        ConfigError: as `preflight.check`.
    """
    for one in planned:
        preflight.check(one.config, whole_stream=True)
