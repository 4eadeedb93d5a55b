"""What was lost as a skill is told from what was lost in format only: table, first screen, notes, CSV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptinf.data import Evaluation
from adaptinf.report import write_report
from adaptinf.report.answered import IN_ANOTHER_FORM, NOTHING, UNSCORED, answers_figure
from adaptinf.report.differences import difference
from adaptinf.report.facts import gather
from adaptinf.report.headline import answers
from adaptinf.report.losses import AS_SKILL, BOTH, BY_CHANCE, IN_FORMAT, KEPT, UNKNOWN, format_only, losses
from adaptinf.report.lost import lost_table
from adaptinf.report.skills import heat_map
from adaptinf.report.table import summary_table
from adaptinf.results.paired import PairedDifference, paired_difference
from adaptinf.results.recording import record_of
from adaptinf.runs import Run
from tests.helpers.report_page import Page
from tests.helpers.run_folders import run_folder

NAN = float("nan")
STRICT = [[0.0, 0.0], [0.9, 0.5], [0.2, 0.5]]
AS_FORMAT = [[0.0, 0.0], [0.9, 0.5], [0.9, 0.5]]
AS_A_SKILL = [[0.0, 0.0], [0.9, 0.5], [0.2, 0.5]]


def finished(folder: Path, matrix=STRICT, *, method: str = "adapt", **others) -> Path:
    return run_folder(folder, method, matrix, num_items=40, **others).folder


@pytest.mark.parametrize(
    ("tolerant", "verdict", "as_skill", "in_format"),
    [
        (AS_FORMAT, IN_FORMAT, 0.0, 70.0),
        (AS_A_SKILL, AS_SKILL, 70.0, 0.0),
        ([[0.0, 0.0], [0.9, 0.5], [0.55, 0.5]], BOTH, 35.0, 35.0),
        ([[0.0, 0.0], [0.9, 0.5], [1.0, 0.5]], IN_FORMAT, -10.0, 80.0),
        (None, UNKNOWN, NAN, NAN),
    ],
)
def test_a_loss_is_split_and_named(tolerant, verdict, as_skill, in_format, tmp_path):
    [fact] = gather([finished(tmp_path / "a", tolerant=tolerant)])
    first, second = losses(fact)
    assert (first.best, first.last, first.verdict, second.verdict) == (90.0, 20.0, verdict, KEPT)
    np.testing.assert_allclose([first.as_skill, first.format_only], [as_skill, in_format], atol=1e-9)
    assert first.best_row == 1


def test_a_loss_within_the_interval_over_the_items_is_within_chance(tmp_path):
    matrix = [[0.0, 0.0], [0.5, 0.5], [0.475, 0.5]]
    [fact] = gather([finished(tmp_path / "a", matrix, tolerant=matrix)])
    assert losses(fact)[0].verdict == BY_CHANCE


def test_the_table_says_what_was_gained_and_what_is_not_known(tmp_path):
    better = [[0.0, 0.0], [0.9, 0.5], [1.0, 0.5]]
    one, other = gather([finished(tmp_path / "a", tolerant=better), finished(tmp_path / "b")])
    line = lost_table(one).lines[0]
    assert (line.best, line.last, line.lost) == ("90.0 / 90.0 (d0)", "20.0 / 100.0", "70.0")
    assert (line.as_skill, line.format_only) == ("gained 10.0", "80.0")
    line = lost_table(other).lines[0]
    assert (line.last, line.as_skill, line.format_only) == ("20.0 / not known", "not known", "not known")


def test_a_harness_without_items_is_judged_by_its_size_alone(tmp_path):
    [fact] = gather([finished(tmp_path / "a", by_size=("s0",))])
    first, second = losses(fact)
    assert first.verdict == UNKNOWN and second.verdict == KEPT
    [fact] = gather([finished(tmp_path / "b", [[0.0], [0.5], [0.45]], by_size=("s0",))])
    assert losses(fact)[0].verdict == BY_CHANCE
    found = heat_map(fact, None)
    assert found is not None and found.rows[0].items == "40, size alone"


def forgetting(folder: Path) -> str:
    facts = gather([folder])
    return answers(facts, summary_table(facts))[1].text


def test_the_first_screen_names_the_format_only_where_it_is_beyond_chance(tmp_path):
    text = forgetting(finished(tmp_path / "a", tolerant=AS_FORMAT))
    assert "35.0 points per skill" in text and "lost in format only" in text
    assert "format" not in forgetting(finished(tmp_path / "b", tolerant=AS_A_SKILL))
    assert "format" not in forgetting(finished(tmp_path / "c"))
    slightly = [[0.0, 0.0], [0.9, 0.5], [0.225, 0.5]]
    assert "format" not in forgetting(finished(tmp_path / "d", tolerant=slightly))
    assert np.isnan(format_only(gather([finished(tmp_path / "e")])).interval.mean)
    partly = [[0.0, NAN], [0.9, NAN], [0.9, NAN]]
    assert "On the 1 whose tolerant scores are known, 70.0 points" in forgetting(
        finished(tmp_path / "f", tolerant=partly)
    )


def test_the_difference_to_the_baseline_is_told_to_be_one_of_format(tmp_path):
    folders = [
        finished(tmp_path / "a", AS_FORMAT, tolerant=AS_FORMAT),
        finished(tmp_path / "r", STRICT, method="random_replay", tolerant=AS_FORMAT),
    ]
    facts = gather(folders)
    text = answers(facts, summary_table(facts))[0].text
    assert "Whatever the format of the answers, the difference is 0.0 points" in text
    assert "+35.0 points are a difference in format only" in text
    unknown = gather([folders[0], finished(tmp_path / "u", STRICT, method="random_replay")])
    assert "format" not in answers(unknown, summary_table(unknown))[0].text


def test_skills_by_size_and_other_metrics_and_engines_are_named(tmp_path):
    mine = finished(tmp_path / "a", by_size=("s0",), metrics=("pope", "iou boxes=unit"))
    theirs = finished(tmp_path / "r", method="random_replay", by_size=("s0",), metrics=("pope", "iou boxes=pixels"))
    facts = gather([mine, theirs])
    found = difference(facts[:1], facts[1:])
    assert not isinstance(found, str) and found.by_size == ("s0",) and found.left_out == ("s1",)
    text = answers(facts, summary_table(facts))[0].text
    assert "size alone, as single items are not known: s0." in text and "not known: s1." in text
    heat = heat_map(facts[0], facts[1].evaluation)
    assert heat is not None and [row.against for row in heat.rows] == ["0", ""]
    other = finished(tmp_path / "v", method="random_replay", engine="vllm")
    facts = gather([mine, other])
    assert isinstance(difference(facts[:1], facts[1:]), str)


def test_the_page_shows_both_scores_metrics_and_answers_that_were_cut_off(tmp_path):
    folder = finished(tmp_path / "a", tolerant=AS_FORMAT, metrics=("exact", "cider"), num_cut_off=10)
    page = Page(write_report([folder], tmp_path / "report.html"))
    assert "Strict beside tolerant" in page.text and "lost in format only" in page.text
    assert "answers that were cut off at max_new_tokens: s0 25 %, s1 25 %" in page.text
    assert "2 different metrics" in page.text and "cider" in page.text
    [row] = page.rows("table")
    assert row["macro_tolerant"] == 70.0 and row["macro_strict"] == row["macro"] == 35.0
    last = next(row for row in page.rows("skills") if (row["skill"], row["step"]) == ("s0", 2))
    assert (last["accuracy"], last["tolerant"], last["metric"]) == (20.0, 90.0, "exact")
    assert page.rows("losses")[0]["lost_in_format_only"] == 70.0
    shown = [row for row in page.rows("answers") if row["skill"] == "s0"]
    assert {row["kind"] for row in shown} >= {IN_ANOTHER_FORM, NOTHING}
    assert {row["stop"] for row in shown} <= {"end", "length"} and shown[0]["tolerant"] == 1.0
    assert [row["tolerant"] for row in page.rows("accuracy")] == [0.0, 70.0, 70.0]


def test_a_page_of_a_run_without_tolerant_scores_says_so_and_shows_none(tmp_path):
    page = Page(write_report([finished(tmp_path / "a")], tmp_path / "report.html"))
    assert "Strict beside tolerant" not in page.text and "are not known of this run" in page.text
    assert "cut off at max_new_tokens:" not in page.text
    assert [row["tolerant"] for row in page.rows("accuracy")] == [None, None, None]


def test_a_skill_without_tolerant_scores_is_named_beside_the_others(tmp_path):
    partly = [[0.0, NAN], [0.9, NAN], [0.9, NAN]]
    page = Page(write_report([finished(tmp_path / "a", tolerant=partly)], tmp_path / "report.html"))
    assert "not known, in whole or in part: s1" in page.text and "50 ?" in page.text
    assert [row["tolerant"] for row in page.rows("accuracy")] == [None, None, None], "not over fewer skills"


def test_a_run_whose_harness_logs_nothing_has_no_answers_to_show(tmp_path):
    [fact] = gather([finished(tmp_path / "a", by_size=("s0", "s1"))])
    assert "logged no single answers" in answers_figure([fact]).missing[fact.label]


def test_items_that_a_harness_logged_without_scores_are_shown_and_count_by_their_size(tmp_path):
    folders = [finished(tmp_path / name, method=name) for name in ("adapt", "random_replay")]
    for folder in folders:
        for place in folder.glob("**/evaluation"):
            found = Evaluation.load(place)
            unscored = np.where(found.predictions["skill"] == "s0", np.nan, found.predictions["score"])
            replace(found, predictions={**found.predictions, "score": unscored}).save(place)
    one, other = gather(folders)
    compared = difference([one], [other])
    assert not isinstance(compared, str) and compared.by_size == ("s0",)
    assert summary_of(folders).by_size == ("s0",)
    heat = heat_map(one, None)
    assert heat is not None and heat.rows[0].items == "40, size alone" and losses(one)[0].verdict == UNKNOWN
    assert {row["kind"] for row in answers_figure([one]).rows if row["skill"] == "s0"} == {UNSCORED}


def summary_of(folders: list[Path]) -> PairedDifference:
    """Return the difference of two runs as `compare` has it."""
    one, other = (record_of(Run.open(folder)) for folder in folders)
    found = paired_difference([one], [other])
    assert isinstance(found, PairedDifference), found
    return found
