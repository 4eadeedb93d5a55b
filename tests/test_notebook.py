"""The example notebook runs from its first to its last cell, and what it shows is tables and figures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from adaptinf.data import Evaluation, Trained
from adaptinf.runs.status import status_of
from tests.helpers.run_folders import run_folder

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_every_cell_of_the_notebook_runs_and_shows_what_it_says(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(book, timeout=800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in book.cells for output in cell.get("outputs", [])]
    assert sum(PLOTLY in data for data in shown) == 3
    assert sum("<table" in str(data.get("text/html")) for data in shown) >= 5


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert len(cells) > 8
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_figures_have_the_numbers_of_their_tables_and_names_that_are_no_markup(tmp_path):
    run = run_folder(tmp_path / "run", "random_replay", [[0.2, 0.5], [0.4, 0.6], [0.3, 0.8]])
    status = status_of(run).figure()
    assert list(status.data[0].y) == pytest.approx([50.0, 55.0])
    evaluation = run.load(1, Evaluation)
    assert evaluation is not None
    figure = evaluation.figure()
    assert [trace.name for trace in figure.data] == ["s0", "s1"]
    assert np.allclose(figure.data[0].y, [20.0, 40.0, 30.0]) and list(figure.data[0].x) == ["base", "0", "1"]
    hostile = Evaluation(**{**vars(evaluation), "skills": ("<b onclick=x>", "s1")}).figure()
    assert hostile.data[0].name == "&lt;b onclick=x&gt;"
    losses = Trained(log=[{"loss": 2.0, "step": 5}, {"note": 1}, {"loss": 1.0, "step": 9}]).figure()
    assert (list(losses.data[0].x), list(losses.data[0].y)) == ([5, 9], [2.0, 1.0])
