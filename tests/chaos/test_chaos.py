"""The attack on a run folder holds: no try ends in a fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.heavy


def faults(place: Path, *words: str) -> str:
    """Return what the attack prints of the tries that did not hold."""
    command = [sys.executable, "-m", "tests.chaos", "--json", str(place), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    tried = json.loads(place.read_text(encoding="utf-8")) if place.exists() else []
    assert tried, done.stderr
    return done.stderr if done.returncode else ""


def test_a_sample_of_every_attack_holds(tmp_path):
    assert faults(tmp_path / "tried.json", "--seed", "0", "--per-row", "1", "--seconds", "30") == ""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_tries_of_each_attack_hold(tmp_path, seed):
    assert faults(tmp_path / "tried.json", "--seed", str(seed), "--per-row", "30") == ""
