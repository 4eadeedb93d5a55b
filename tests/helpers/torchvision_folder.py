"""A folder with torchvision and num2words for families whose processors need them, apart from the environment.

The index may have torchvision for one CUDA version alone, whose compiled operators a torch for the CPU cannot load. The
transforms that processors use are pure torch, so the folder leaves the operators out. Only a child process that has the
folder on its PYTHONPATH sees it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch

TORCHVISION_MINOR_AHEAD = 15
"""torch 2.N goes with torchvision 0.(N + 15)."""
DECLARED = """

# Added by the tests: the operators for which the package registers kernels exist, but cannot be called.
declared = torch.library.Library("torchvision", "DEF")
declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
PIP_SECONDS = 240
"""Longest download and installation."""


def environment_with_torchvision() -> dict[str, str]:
    """Return this process's environment with the folder first on PYTHONPATH; skip the test where there is none."""
    folder, reason = _folder()
    if folder is None:
        pytest.skip(f"no torchvision for this test: {reason}")
    paths = [str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@cache
def _folder() -> tuple[Path | None, str]:
    """Return the folder, made on first use and kept in the virtual environment, or None and the reason."""
    version = f"0.{int(torch.__version__.split('.')[1]) + TORCHVISION_MINOR_AHEAD}"
    kept = Path(sys.prefix) / "share" / "adaptinf-tests" / f"torchvision-{version}"
    if (kept / "torchvision").is_dir():
        return kept, ""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
            made = Path(temporary) / "made"
            _install(made, version)
            # Another process may have been first.
            if not kept.exists():
                made.rename(kept)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return None, said[-1] if said else type(error).__name__
    return kept, ""


def _install(folder: Path, version: str) -> None:
    """Install both packages without what they depend on, so that neither torch nor CUDA comes along."""
    packages = [f"torchvision=={version}.*", "num2words>=0.5.13"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
    command = [*pip, "--disable-pip-version-check", "--target", str(folder), *packages]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    shutil.rmtree(folder / "torchvision.libs", ignore_errors=True)
    for compiled in (folder / "torchvision").glob("*.so"):
        compiled.unlink()
    with (folder / "torchvision" / "extension.py").open("a") as file:
        file.write(DECLARED)
