"""The environment of a result: versions, commit, processor, threads."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import adaptinf
from adaptinf.storage import store

PACKAGES = ("torch", "transformers", "numpy", "scikit-learn")
"""Packages whose versions are recorded with every result."""


def environment(*, threads_per_run: int, gpu: str | None = None) -> dict[str, Any]:
    """Return the environment that is recorded with every result; two calls on one machine differ in `utc_time` only.

    `gpu` is the name of the GPU that the runs used, see `adaptinf.models.memory.gpu`.
    """
    return {
        "adaptinf": adaptinf.__version__,
        "git_sha": git_sha(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "processor": processor(),
        "cores": os.cpu_count(),
        **({"gpu": gpu} if gpu else {}),
        "threads_per_run": threads_per_run,
        "system": f"{platform.system()} {platform.release()}",
        "utc_time": store.utc_now(),
    }


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def git_sha() -> str | None:
    """Return the commit of the working tree that the package is run from; None outside of one."""
    package = Path(adaptinf.__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(package), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
