"""Measurements as tables on the terminal and as a file in `results/`, with everything needed to repeat them."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from adaptinf.runs.environment import git_sha, processor
from benchmarks.measuring import Measured

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("numpy", "scikit-learn", "scipy", "pyarrow", "threadpoolctl")
"""Packages whose versions are in every result."""
THREAD_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that change the speed of BLAS."""


class Report:
    """Lines that are printed at once and written as one Markdown file at the end."""

    def __init__(self, what: str, title: str, packages: Sequence[str] = ()) -> None:
        """`what` names the script and the file; `packages` are further packages whose versions are included."""
        self._what = what
        self._device = _gpu(packages)
        self._lines: list[str] = []
        self.text(f"# {title}\n")
        self.text("\n".join(f"- {name}: {value}" for name, value in surroundings(what, packages).items()) + "\n")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        print(text, flush=True)
        self._lines.append(text)

    def table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add a table; the keys of the first row are its header."""
        self.text(as_table(rows) + "\n")

    def growth(self, sizes: Sequence[int], seconds: Mapping[str, Sequence[float]], of: str = "") -> None:
        """Add the table of growth: how the seconds of each case depend on the size; `of` qualifies the seconds."""
        self.text(f"## Growth\n\nExponent e of seconds ~ samples^e{of}:\n")
        self.table([{"what": name, "e": significant(growth(sizes, values))} for name, values in seconds.items()])

    def write(self, folder: Path = RESULTS) -> Path:
        """Write `<what>_<hardware>_<date>.md` and return its path."""
        device = self._device or f"{processor()} {num_cores()} cores"
        hardware = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._what}_{hardware}_{datetime.date.today()}.md"
        path.write_text("\n".join(self._lines), encoding="utf-8")
        print(f"written to {path}")
        return path


def arguments_of(description: str | None) -> argparse.Namespace:
    """Return the options of a benchmark over arrays of growing size: `quick` and `out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small arrays only")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


def row_of(name: str, measured: Measured, against: Measured | None = None, **more: object) -> dict[str, object]:
    """Return a row of a table: seconds, peak anonymous memory, and the ratio of the seconds of `against` to ours."""
    row: dict[str, object] = {
        "what": name,
        "seconds": significant(measured.seconds),
        "median": significant(measured.median_seconds),
        "repeats": len(measured.all_seconds),
        "peak anonymous, MB": f"{measured.peak_bytes / 1e6:,.0f}",
        "of it before, MB": f"{measured.start_bytes / 1e6:,.0f}",
    }
    if against is not None:
        row["times faster"] = significant(against.seconds / measured.seconds)
    return row | more


def as_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a Markdown table; the keys of the first row are its header, and a missing key is an empty cell."""
    head = list(rows[0])
    cells = [head, ["---"] * len(head), *([str(row.get(name, "")) for name in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent e of seconds ~ size^e: the slope of a line fitted to the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def significant(value: float) -> str:
    """Return a number with three significant digits and no exponent."""
    digits = 3 - 1 - int(np.floor(np.log10(abs(value)))) if value else 0
    return f"{value:,.{max(digits, 0)}f}"


def surroundings(what: str, packages: Sequence[str] = ()) -> dict[str, str]:
    """Return what is needed to repeat a measurement: commit, command, versions, hardware and BLAS kernel."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in [*PACKAGES, *packages])
    parts = [processor(), f"{num_cores()} cores", f"{_memory_gb()} GB memory"]
    if device := _gpu(packages):
        parts.append(device)
    module = what.replace("-", "_")
    settings = [f"{name}={os.environ[name]}" for name in THREAD_SETTINGS if name in os.environ]
    return {
        "date": str(datetime.date.today()),
        "command": f"`{shlex.join(['python', '-m', f'benchmarks.{module}', *sys.argv[1:]])}`",
        "adaptinf": f"{metadata.version('adaptinf')}, commit {_commit()}",
        "versions": f"Python {platform.python_version()}, {versions}",
        "hardware": ", ".join(parts),
        "BLAS": "; ".join(_blas()),
        "thread settings": ", ".join(settings) or "none",
        "load of the machine before": f"{os.getloadavg()[0]:.1f} processes (mean of the last minute)",
    }


def _gpu(packages: Sequence[str]) -> str | None:
    """Return the GPU's name if torch is measured; otherwise torch is not imported."""
    if "torch" not in packages:
        return None
    from adaptinf.models.memory import gpu

    return gpu()


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _blas() -> list[str]:
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return sorted({f"{p['internal_api']} {p['version']}, kernel {p.get('architecture', 'unknown')}" for p in pools})


def _commit() -> str:
    commit = git_sha()
    if commit is None:
        return "unknown"
    changed = subprocess.check_output(["git", "status", "--porcelain", "-uno"], cwd=ROOT, text=True).strip()
    return commit[:7] + (" with changes" if changed else "")
