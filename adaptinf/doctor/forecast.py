"""How long a whole run takes and how much disk it needs, from the speed of one device: arithmetic, nothing is measured.

Workers of extraction and devices of training are counted as if each were as fast as the one that was tried, and none
waited for another; docs/scale.md has the same arithmetic for a large run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adaptinf.data import Features, Trained
from adaptinf.data.refresh import Refresh, expected_rows
from adaptinf.doctor.machine import Check
from adaptinf.storage.space import free_disk
from adaptinf.words import counted, format_bytes, format_seconds


class Rates(NamedTuple):
    """Samples per second of one device."""

    measured: float
    """Measured by extraction."""
    trained: float | None
    """Trained on; None: training was not tried."""

    def shared(self, workers: float, devices: float) -> Rates:
        """Return the rates of a worker and a device that have only such a share of the one that was tried."""
        return Rates(self.measured * workers, None if self.trained is None else self.trained * devices)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do, in rows."""

    num_rows: tuple[int, ...]
    """Rows of each dataset of the stream."""
    cap: int | None
    """Rows that the pool holds after a step; None: all."""
    budget: int | None
    """Rows that a step trains on; None: the whole pool."""
    epochs: int = 1
    """Passes over them."""
    num_workers: int = 1
    """Workers that measure, each with a device."""
    num_devices: int = 1
    """Devices that train together."""
    refresh: Refresh = "all"
    """Which rows of the pool a step measures again (`extraction.refresh`)."""

    @property
    def rows_measured(self) -> list[int]:
        """Rows that each step measures: of the pool within its cap what `refresh` says, and the new dataset."""
        return expected_rows(self.num_rows, self.cap, self.budget, self.refresh)

    @property
    def pools(self) -> list[int]:
        """Rows in the pool of each step: those within its cap, and the new dataset."""
        return expected_rows(self.num_rows, self.cap, self.budget, "all")

    @property
    def rows_trained(self) -> list[int]:
        """Rows that each step trains on, those of several epochs counted several times."""
        return [self.epochs * (rows if self.budget is None else min(rows, self.budget)) for rows in self.pools]

    def measuring_seconds(self, rows: int, rates: Rates) -> float:
        """Return how long all workers take to measure some rows."""
        return rows / rates.measured / self.num_workers

    def training_seconds(self, rates: Rates) -> float | None:
        """Return how long all trainings take; None: training was not tried."""
        return None if rates.trained is None else sum(self.rows_trained) / rates.trained / self.num_devices


def seconds_per_sample(plan: Plan, rates: Rates) -> dict[str, float]:
    """Return stage -> seconds that a sample takes with all workers or devices; without one that was not tried."""
    measured = {Features.stage: plan.measuring_seconds(1, rates)}
    return measured if rates.trained is None else {**measured, Trained.stage: 1 / rates.trained / plan.num_devices}


def forecast(plan: Plan, rates: Rates, bytes_a_row: int, out: Path, *, lower: str) -> list[Check]:
    """Return time and disk of extraction for the whole pool once and for the whole run, and the time of training.

    Args:
        plan: what the run will do.
        rates: the speed of one device.
        bytes_a_row: bytes of a measured row.
        out: where runs would be written.
        lower: settings that make the measured rows smaller or fewer.
    """
    pool, measured, trained = sum(plan.num_rows), plan.rows_measured, plan.rows_trained
    steps = "1 step measures" if len(measured) == 1 else f"{len(measured)} steps measure"
    # Shards and the arrays made of them are on disk at the same time.
    num_bytes = 2 * bytes_a_row * max(plan.pools)
    _, free = free_disk(out)
    advice = "" if num_bytes < free else f"only {format_bytes(free)} are free; reduce {lower}"
    by_workers = "" if plan.num_workers == 1 else f" with {counted(plan.num_workers, 'worker')}"
    refreshed = "" if plan.refresh == "all" else f" (extraction.refresh {plan.refresh})"
    checks = [
        Check("whole pool", f"{counted(pool, 'row')}: {format_seconds(plan.measuring_seconds(pool, rates))}"
              f"{by_workers}, {format_bytes(bytes_a_row * pool)}", True),
        Check("whole run", f"{steps} {counted(sum(measured), 'row')}{refreshed}: "
              f"{format_seconds(plan.measuring_seconds(sum(measured), rates))}{by_workers}, "
              f"up to {format_bytes(num_bytes)} at once", num_bytes < free, advice),
    ]  # fmt: skip
    seconds = plan.training_seconds(rates)
    if seconds is not None:
        on = "" if plan.num_devices == 1 else f" on {counted(plan.num_devices, 'device')}"
        checks.append(Check("all trainings", f"{counted(sum(trained), 'row')}: {format_seconds(seconds)}{on}", True))
    return checks
