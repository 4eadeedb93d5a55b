"""Every benchmark runs from end to end on small arrays, so that none can rot unnoticed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["clustering", "pruning", "selection"])
def test_a_benchmark_runs_and_writes_its_result(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob(f"{name}_*.md")
    text = result.read_text()
    assert "## Growth" in text and "times faster" in text and "bare" in text
    assert re.search(r"^\| cluster|^\| greedy|^\| adapt", text, re.MULTILINE)
