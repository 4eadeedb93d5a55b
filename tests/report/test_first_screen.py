"""The first screen's answers, the names of runs and the table, on run folders whose numbers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptinf.report import write_report
from adaptinf.report.differences import difference
from adaptinf.report.facts import gather
from adaptinf.report.forgetting import forgotten
from adaptinf.report.headline import answers, deciding_scores
from adaptinf.report.rendering import unbroken
from adaptinf.report.retention import retention
from adaptinf.report.skills import heat_map, points
from adaptinf.report.table import summary_table
from adaptinf.runs import Run
from adaptinf.storage import tables
from tests.helpers.report_page import Page
from tests.helpers.run_folders import run_folder


def finished(
    folder: Path, method: str, matrix: list[list[float]], *, seed: int = 0, shift: int = 0, cap="none"
) -> Path:
    """Write a run whose skills are introduced one per step, 40 items each, and return its folder."""
    in_turn = range(len(matrix[0]))
    return run_folder(
        folder, method, matrix, seed=seed, shift=shift, cap=cap, introduced_at=in_turn, num_items=40
    ).folder


def answer(folders: list[Path], number: int):
    facts = gather(folders)
    return answers(facts, summary_table(facts))[number]


GOOD = [[0.0, 0.0], [0.9, 0.0], [0.85, 0.9]]
POOR = [[0.0, 0.0], [0.5, 0.0], [0.4, 0.5]]


def test_a_clear_win_is_said_with_its_interval(tmp_path):
    folders = [finished(tmp_path / "a", "adapt", GOOD), finished(tmp_path / "r", "random_replay", POOR)]
    found = answer(folders, 0)
    assert found.value == "Yes: +42.5 points" and found.tone == "good"
    assert "87.5 % of the tests correctly, random replay 45.0 %" in found.text and "one seed" in found.text
    lost = answer([finished(tmp_path / "b", "adapt", POOR), finished(tmp_path / "q", "random_replay", GOOD)], 0)
    assert lost.value == "No: −42.5 points" and lost.tone == "bad"


def test_a_difference_within_its_interval_is_no_difference(tmp_path):
    near = [[0.0, 0.0], [0.5, 0.0], [0.425, 0.5]]
    folders = [
        finished(tmp_path / "a", "adapt", near),
        finished(tmp_path / "r", "random_replay", POOR, shift=7),
    ]
    found = answer(folders, 0)
    assert found.value == "No clear difference: +1.2 points" and not found.tone


def test_runs_are_compared_after_the_last_step_that_both_have(tmp_path):
    folders = [finished(tmp_path / "a", "adapt", GOOD), finished(tmp_path / "r", "random_replay", POOR[:2])]
    found = answer(folders, 0)
    assert found.text.startswith("After step 1, adapt answers 45.0 %") and "random replay 25.0 %" in found.text


def test_without_random_replay_the_page_says_how_to_get_it(tmp_path):
    found = answer([finished(tmp_path / "a", "adapt", GOOD)], 0)
    assert found.value == "Not known yet" and "--set selection.method=random_replay" in found.text
    assert answer([finished(tmp_path / "r", "random_replay", GOOD)], 0).value == "Baseline only"


def test_seeds_that_do_not_meet_are_not_compared(tmp_path):
    folders = [finished(tmp_path / "a", "adapt", GOOD), finished(tmp_path / "r", "random_replay", POOR, seed=1)]
    assert answer(folders, 0).value == "Not comparable" and "no seed in common" in answer(folders, 0).text


def test_seeds_in_the_folder_of_a_row_are_one_method_whatever_their_base_model(tmp_path):
    def made(folder, seed):
        run = Run.open(finished(tmp_path / folder, "adapt", GOOD, seed=seed))
        model = run.config.model.model_copy(update={"path": f"base-{seed}"})
        replace(run, config=run.config.model_copy(update={"model": model})).write_config()
        return run.folder

    in_a_row = [made(f"row/seed-{seed}", seed) for seed in (0, 1)]
    assert [fact.label for fact in gather(in_a_row)] == ["row, seed 0", "row, seed 1"]
    alone = [made(f"mine-{seed}", seed) for seed in (0, 1)]
    assert len({fact.group for fact in gather(alone)}) == 2


def test_several_seeds_are_one_method(tmp_path):
    folders = [
        finished(tmp_path / method / f"seed-{seed}", method, matrix, seed=seed)
        for method, matrix in (("adapt", GOOD), ("random_replay", POOR))
        for seed in (0, 1, 2)
    ]
    facts = gather(folders)
    assert [fact.group for fact in facts] == ["adapt"] * 3 + ["random_replay"] * 3
    assert [fact.label for fact in facts][:2] == ["adapt, seed 0", "adapt, seed 1"]
    found = difference(facts[:3], facts[3:])
    assert not isinstance(found, str) and found.num_seeds == 3
    assert found.interval.mean == pytest.approx(0.425) and found.accuracy == pytest.approx(0.875)
    table = summary_table(facts)
    assert [row[0] for row in table.rows] == ["adapt", "random_replay"] and table.rows[0][2] == "0, 1, 2"
    assert table.rows[0][3] == "87.5 ± 0.0"
    page = Page(write_report(folders, tmp_path / "report.html"))
    assert "3 seeds" in page.text and "not for adapt, seed 1, adapt, seed 2" in page.text
    assert len([row for row in page.rows("table")]) == 6


def test_names_that_are_given_stand_for_the_methods(tmp_path):
    names = ["fisher", "fisher", "random_replay", "adapt"]
    folders = [
        finished(tmp_path / "f" / "seed-0", "adapt", GOOD, seed=0),
        finished(tmp_path / "f" / "seed-1", "adapt", GOOD, seed=1),
        finished(tmp_path / "r", "random_replay", POOR),
        finished(tmp_path / "a", "adapt", POOR),
    ]
    facts = gather(folders, names)
    assert [fact.label for fact in facts] == ["fisher, seed 0", "fisher, seed 1", "random_replay", "adapt"]
    page = Page(write_report(folders, tmp_path / "report.html", names=names))
    assert "Results of fisher after" in page.text
    headings = ("worst", "over time", "max. forgetting", "bwd transfer")
    assert all(heading in page.text for heading in headings)


def test_the_same_method_twice_is_told_apart_by_its_folder(tmp_path):
    one, two = (finished(tmp_path / name / "adapt", "adapt", GOOD) for name in ("one", "two"))
    assert [fact.label for fact in gather([one, two])] == ["adapt (one/adapt)", "adapt (two/adapt)"]
    assert [fact.label for fact in gather([one, one])] == ["adapt"]


def test_runs_over_other_skills_share_a_page_but_no_reference(tmp_path):
    one = finished(tmp_path / "a", "adapt", GOOD)
    other = finished(tmp_path / "s", "sequential", [[0.0], [0.5]])
    random = finished(tmp_path / "r", "random_replay", POOR)
    table = summary_table(gather([one, other, random]))
    assert [row[7] for row in table.rows] == ["–", "100.0", "–"]
    assert len(table.references) == 2
    assert write_report([one, other, random], tmp_path / "report.html").exists()


def test_clusters_are_told_with_what_they_were_joined_to_and_deciding_scores():
    clusters = {"cluster": np.arange(4), "scorer": tables.text_array(["el2n", "none", "el2n", "grand"])}
    assert deciding_scores(clusters) == "The pool had 4 clusters; el2n decided in 2 of them."
    undecided = {"cluster": np.arange(4), "scorer": tables.text_array(["none"] * 4), "joint": np.array([0, 1, 0, 1])}
    assert deciding_scores(undecided) == "The pool had 4 clusters, joined to 2; no score decided in any of them."
    assert deciding_scores({"cluster": np.zeros(0), "scorer": tables.text_array([])}) == ""


def test_forgetting_is_the_best_since_introduction_minus_the_last(tmp_path):
    (fact,) = gather([finished(tmp_path / "a", "adapt", [[0.9, 0.0], [0.5, 0.0], [0.8, 0.4], [0.6, 0.4]])])
    found = forgotten([fact])
    # s0 is introduced at step 0: best since 0.8, last 0.6; s1 at step 1 loses nothing. The base's 0.9 came before.
    assert found is not None and found.mean_loss == pytest.approx(10.0)
    assert (found.num_lost, found.num_skills) == (1, 2)
    assert found.worst == [("s0", pytest.approx(80.0), pytest.approx(60.0))]


def test_nothing_can_be_forgotten_before_a_second_step(tmp_path):
    folder = finished(tmp_path / "a", "adapt", [[0.0], [0.5]])
    assert answer([folder], 1).value == "Not measured yet"
    assert answer([finished(tmp_path / "b", "adapt", [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]])], 1).value == "Nothing"


def test_the_heat_map_marks_introductions_losses_and_random_replay(tmp_path):
    adapt, random = gather([
        finished(tmp_path / "a", "adapt", GOOD), finished(tmp_path / "r", "random_replay", POOR)
    ])  # fmt: skip
    found = heat_map(adapt, random.evaluation)
    assert found is not None and found.steps == ["base", "d0", "d1"] and found.has_baseline
    assert [cell.is_first for cell in found.rows[0].cells] == [False, True, False]
    assert (found.rows[0].change, found.rows[0].against) == ("−5", "+45")
    assert (found.rows[1].change, found.rows[1].against) == ("", "+40")
    assert not heat_map(adapt, None).has_baseline


def test_a_retention_curve_begins_at_the_base_and_marks_the_introduction(tmp_path):
    first, second = retention(gather([finished(tmp_path / "a", "adapt", GOOD)]))
    assert (first.skill, first.introduced, first.last) == ("s0", "step 1, d0", "85 %")
    points_of_line = [tuple(map(float, point.split(","))) for point in first.curves[0].line.split()]
    assert [x for x, _ in points_of_line] == pytest.approx([6.0, 90.0, 174.0])
    assert [y for _, y in points_of_line] == pytest.approx([90.0, 8 + 82 * 0.1, 8 + 82 * 0.15], abs=0.06)
    assert first.marker == pytest.approx(90.0) and second.marker == pytest.approx(174.0)


def test_a_skill_that_no_dataset_has_brought_yet_has_a_curve_without_a_step(tmp_path):
    run = run_folder(tmp_path / "a", "adapt", [[0.1, 0.1], [0.5, 0.1]], introduced_at=[0, 1])
    arrived, later = retention(gather([run.folder]))
    assert (arrived.introduced, arrived.is_later) == ("step 1, d0", False)
    assert (later.introduced, later.is_later, later.marker) == ("not introduced yet", True, None)
    assert "not introduced yet" in write_report([run.folder], tmp_path / "page.html").read_text()


def test_numbers_read_well():
    assert [points(value) for value in (0.123, -0.123, 0.001, float("nan"))] == ["+12", "−12", "0", ""]
    assert unbroken("16.2 % in 1 min 05 s, 12 skills") == "16.2\u00a0% in 1\u00a0min 05\u00a0s, 12 skills"
