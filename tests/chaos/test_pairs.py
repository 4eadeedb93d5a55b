"""Two commands on one folder at once: the table of the documentation is what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.chaos.judging import Case, Verdict
from tests.chaos.pairs import ON_A_RUN, cases, outcome, table
from tests.chaos.runs import Workshop
from tests.helpers.run_folders import run_folder
from tests.helpers.streams import rows, write_dataset

ROOT = Path(__file__).parents[2]
WITHOUT_MODEL = {"add", "withdraw", "status", "explain", "report", "export"}
"""Verbs that load no model: all pairs of them on a run that was written without one."""
PER_PUSH = 5


def faults(place: Path, *words: str) -> str:
    """Return what the attack prints of the pairs that did not hold."""
    command = [sys.executable, "-m", "tests.chaos", "--attacks", "pairs", "--json", str(place), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    rows = json.loads(place.read_text(encoding="utf-8")) if place.exists() else []
    assert rows, done.stderr
    return done.stderr if done.returncode else ""


def test_the_documentation_has_the_table_of_all_pairs():
    assert table() in (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    assert all(outcome(first, second) == outcome(second, first) for first in ON_A_RUN for second in ON_A_RUN)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A run of two steps without a model, and a dataset to add."""
    made = Workshop(tmp_path_factory.mktemp("pairs"))
    datasets = {name: ["s0", "s1"] for name in ("one", "two")}
    run = run_folder(made.state("waiting"), "adapt", [[0.1, 0.2], [0.5, 0.6], [0.7, 0.8]], datasets=datasets)
    for dataset in run.config.stream:
        write_dataset(made.inputs, dataset.name, rows(4, images=False))
    return made


def light(workshop: Workshop) -> list[Case]:
    """Return the pairs of verbs that load no model."""
    found = [case for case in cases(workshop) if case.name.startswith("pairs/waiting/")]
    return [case for case in found if set(case.name.split("/")[2:]) <= WITHOUT_MODEL]


@pytest.mark.parametrize("number", range(PER_PUSH))
def test_a_sample_of_pairs_holds(workshop, tmp_path, number):
    case = Random(0).sample(light(workshop), PER_PUSH)[number]
    judged = case.do(tmp_path, Random(number))
    assert judged.verdict == Verdict.HELD, f"{case.name}: {judged.why}"


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_pair_of_commands_holds(tmp_path):
    assert faults(tmp_path / "rows.json", "--seed", "0") == ""
