"""A report that is written while its run finishes a step is not older than the run's own."""

from __future__ import annotations

import adaptinf.report as reports
from tests.helpers.report_page import Page
from tests.helpers.run_folders import run_folder


def test_a_step_that_is_finished_meanwhile_is_on_the_page(tmp_path, monkeypatch):
    run = run_folder(tmp_path / "run", "adapt", [[0.1, 0.2], [0.5, 0.6], [0.7, 0.8]])
    finished = run.step_folder(1) / "pruning"
    aside = finished.rename(tmp_path / "aside")
    real, times = reports.rendered, []

    def slow(page):
        times.append(page)
        if len(times) == 1:
            aside.rename(finished)
        return real(page)

    monkeypatch.setattr(reports, "rendered", slow)
    path = reports.write_report([run.folder], tmp_path / "page.html")
    assert len(times) == 2
    assert {row["step"] for row in Page(path).rows("pool")} == {1, 2}
