"""Environments of other trainers, whose versions conflict with ours: made on first use, kept below our own.

The index may have torchvision and torchaudio for CUDA alone, whose compiled operators a torch for the CPU cannot load;
they are left out, as a training on text needs none of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import torch

from tests.helpers.torchvision_folder import DECLARED

PACKAGES = {"llamafactory": "llamafactory==0.9.5", "swift": "ms-swift==4.6.0"}
"""Name -> what is installed."""
PIP_SECONDS = 1500
"""Longest installation."""


def environment(name: str) -> Path:
    """Return the folder of the programs of a trainer; skip the test where it cannot be installed."""
    if name == "trl":
        if shutil.which("trl", path=str(Path(sys.executable).parent)) is None:
            pytest.skip("trl is not installed")
        return Path(sys.executable).parent
    folder, reason = _made(name)
    if folder is None:
        pytest.skip(f"no {name} for this test: {reason}")
    return folder / "bin"


@cache
def _made(name: str) -> tuple[Path | None, str]:
    """Return the environment, or None and the reason."""
    kept = Path(sys.prefix) / "share" / "adaptinf-tests" / f"{name}-{PACKAGES[name].partition('==')[2]}"
    if (kept / "whole").is_file():
        return kept, ""
    try:
        shutil.rmtree(kept, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(kept)], check=True, capture_output=True, text=True)
        torch_here = f"torch=={metadata.version('torch')}"
        pip = [str(kept / "bin" / "pip"), "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
        command = [*pip, torch_here, PACKAGES[name]]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
        if not torch.version.cuda:
            _leave_out_operators(kept)
        (kept / "whole").touch()
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return None, said[-1] if said else type(error).__name__
    return kept, ""


def _leave_out_operators(folder: Path) -> None:
    for package in ("torchvision", "torchaudio"):
        for found in folder.glob(f"lib/python*/site-packages/{package}"):
            for compiled in found.rglob("*.so"):
                compiled.unlink()
            if package == "torchvision":
                with (found / "extension.py").open("a", encoding="utf-8") as file:
                    file.write(DECLARED)
