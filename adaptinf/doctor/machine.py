"""The machine: versions of packages against the required ones, devices, memory, disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.requirements import Requirement

import adaptinf
from adaptinf.storage.display import as_frame, as_html
from adaptinf.storage.space import free_disk
from adaptinf.words import counted, format_bytes

if TYPE_CHECKING:
    import pandas as pd


VISION_EXTRA = "vision"
"""The extra with what the processors of some vision-language models need."""


class Check(NamedTuple):
    """One line of the report of `adaptinf doctor`."""

    name: str
    value: str
    is_good: bool
    advice: str = ""


OnCheck = Callable[[Check], None]
"""What is done with a check as soon as it is known."""


def ignored(check: Check) -> None:
    """Do nothing with a check; the caller waits for the report."""


@dataclass(frozen=True)
class Checkup:
    """The doctor's report."""

    checks: tuple[Check, ...]
    """One line each."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is missing and every check of exactness has passed."""
        return all(check.is_good for check in self.checks)

    def __repr__(self) -> str:
        bad = [check.name for check in self.checks if not check.is_good]
        verdict = f"bad: {', '.join(bad)}" if bad else "all good"
        return f"Checkup({counted(len(self.checks), 'check')}, {verdict})"

    def as_json(self) -> list[dict[str, Any]]:
        """Return the checks as plain values."""
        return [check._asdict() for check in self.checks]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per check: `name`, `value`, `is_good`, `advice`."""
        return as_frame({name: [getattr(check, name) for check in self.checks] for name in Check._fields})

    def _repr_html_(self) -> str:
        """Return all checks as notebooks show them."""
        return as_html(repr(self), self.to_pandas(), max_rows=None)


def examine(folder: Path) -> list[Check]:
    """Return the checks of the machine; `folder` is the folder that runs would be written to."""
    return [
        Check("adaptinf", adaptinf.__version__, True),
        Check("python", platform.python_version(), True),
        *_packages(),
        *_devices(),
        _memory(),
        _disk(folder),
    ]


def _packages() -> list[Check]:
    """Compare every package that adaptinf requires, and those that some models do, with the installed version."""
    needed = [Requirement(line) for line in importlib.metadata.requires("adaptinf") or []]
    of_models = [item for item in needed if item.marker is not None and item.marker.evaluate({"extra": VISION_EXTRA})]
    return [*(_package(item) for item in needed if item.marker is None), *map(_package_of_models, of_models)]


def _package_of_models(needed: Requirement) -> Check:
    """Return the check of a package that only some processors need; one that is missing is no fault."""
    found = _package(needed)
    if found.value != "missing":
        return found
    advice = f"some vision-language models need it (docs/your-model.md): pip install 'adaptinf[{VISION_EXTRA}]'"
    return Check(found.name, "not installed", True, advice)


def _package(needed: Requirement) -> Check:
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return Check(needed.name, "missing", False, f"pip install '{needed}'")
    is_good = needed.specifier.contains(version, prereleases=True)
    return Check(needed.name, version, is_good, "" if is_good else f"pip install '{needed}'")


def _devices() -> list[Check]:
    import torch

    checks = [Check("cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads", True)]
    for number in range(torch.cuda.device_count()):
        # Any: torch's device properties have no stub.
        properties: Any = torch.cuda.get_device_properties(number)
        bfloat16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        checks.append(
            Check(f"cuda:{number}", f"{properties.name}, {format_bytes(properties.total_memory)}, {bfloat16}", True)
        )
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    checks += mixed_gpus(names)
    if not names:
        advice = "models of billions of weights need a GPU; very small ones run on this machine"
        checks.append(Check("gpu", "none that torch can use", True, advice))
    return checks


def mixed_gpus(types: Sequence[str]) -> list[Check]:
    """Return a warning where GPUs are of several types, which is no fault of the machine."""
    counts = Counter(types)
    if len(counts) < 2:
        return []
    found = ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()))
    advice = (
        "last bits of vectors, scores and answers may depend on which GPU made them, so that two runs may differ; for "
        "the same bytes name GPUs of one type in CUDA_VISIBLE_DEVICES, or use nodes with one type"
    )
    return [Check("gpu types", f"warning: mixed ({found})", True, advice)]


def _memory() -> Check:
    num_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("memory", format_bytes(num_bytes), True)


def _disk(folder: Path) -> Check:
    existing, free = free_disk(folder)
    is_good = free > 2**30
    return Check(
        "disk", f"{format_bytes(free)} free at {existing}", is_good, "" if is_good else "free some space before a run"
    )
