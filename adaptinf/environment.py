"""What a result was made with: versions, commit, processor, threads."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import adaptinf
from adaptinf import store
from adaptinf.runs import git_sha

PACKAGES = ("torch", "transformers", "numpy", "scikit-learn")
"""Their versions stand in every result."""


def environment(*, threads_per_run: int) -> dict[str, Any]:
    """Return what stands with every result; only `utc_time` differs between two calls on one machine."""
    return {
        "adaptinf": adaptinf.__version__,
        "git_sha": git_sha(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads_per_run": threads_per_run,
        "system": f"{platform.system()} {platform.release()}",
        "utc_time": store.utc_now(),
    }


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
