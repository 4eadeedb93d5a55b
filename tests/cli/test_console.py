"""What tables and lines in a terminal say, of results that are made by hand."""

from dataclasses import replace

from adaptinf.cli.console import show_status
from adaptinf.runs.status import status_of
from tests.helpers.run_folders import run_folder


def test_status_names_every_step_of_which_the_gate_found_the_same(tmp_path, capsys):
    found = status_of(run_folder(tmp_path / "run", "random_replay", [[0.9]] * 14))
    lost = {"gate": "rolled back", "gate_findings": ("drop of more than 3 points: ocr",)}
    passed = {"gate": "passed", "gate_findings": ("by size",)}
    steps = [replace(step, **(lost if step.step in (0, 2) else passed)) for step in found.steps]
    show_status(replace(found, steps=tuple(steps)))
    said = capsys.readouterr().out
    assert "steps 0, 2, rolled back by the gate: drop of more than 3 points: ocr" in said
    assert "steps 1, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 1 more, passed by the gate: by size" in said
