"""Strict beside tolerant numbers: a forgotten format is no forgotten skill, and what is unknown is not equal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptinf.results.both_scores import both_scores_table
from adaptinf.results.markdown import long_table
from adaptinf.results.per_skill import skill_lines, skill_table
from adaptinf.results.records import read_records, records_text
from adaptinf.results.summary import summarise
from adaptinf.results.table import results_table
from tests.helpers.results import record

NAN = float("nan")
STRICT = [[0.0, 0.2], [0.8, 0.4], [0.2, 0.5]]
TOLERANT = [[0.0, 0.2], [0.8, 0.4], [0.7, 0.5]]
"""The first skill loses its format: of 60 points, 10 are lost as a skill."""


def test_both_scores_have_their_own_forgetting_over_the_same_values():
    found = summarise(record("adapt", STRICT, tolerant=TOLERANT)).strict_and_tolerant
    assert found is not None and found.unknown == ()
    assert found.strict.macro == pytest.approx(0.35) and found.tolerant.macro == pytest.approx(0.6)
    assert found.strict.max_forgetting == pytest.approx(0.6) and found.tolerant.max_forgetting == pytest.approx(0.1)
    assert summarise(record("adapt", STRICT)).strict_and_tolerant is None


def test_a_skill_without_tolerant_scores_is_left_out_of_both_and_named():
    unknown = [[0.0, NAN], [0.8, NAN], [0.7, NAN]]
    found = summarise(record("adapt", STRICT, tolerant=unknown)).strict_and_tolerant
    assert found is not None and found.unknown == ("s1",)
    assert found.strict.macro == pytest.approx(0.2), "over s0 alone, as the tolerant one"
    table = results_table([record("adapt", STRICT, tolerant=unknown)])
    assert any("not known" in note and note.endswith("s1") for note in table.notes)
    assert table.skills[1].as_json()["rows"]["adapt"]["strict"]["mean"] == pytest.approx(50.0)
    assert [row[-1] for row in skill_table(table.skills)[1:]] == ["20.0 / 70.0", "50.0 / –"]


def test_rows_that_were_tested_before_there_were_tolerant_scores_count_in_neither():
    begun_before = [[NAN, NAN], [NAN, NAN], [0.7, 0.5]]
    found = summarise(record("adapt", STRICT, tolerant=begun_before)).strict_and_tolerant
    assert found is not None and found.unknown == ("s0", "s1")
    assert np.isnan(found.strict.max_forgetting) and np.isnan(found.tolerant.max_forgetting)


def test_the_table_has_two_lines_per_row_and_no_line_where_a_seed_lacks_tolerant_scores():
    both, lacking = (record("adapt", STRICT, tolerant=TOLERANT, seed=seed) for seed in (0, 1)), record("adapt", seed=1)
    summaries = [summarise(one) for one in both]
    rows = both_scores_table([("adapt", summaries)], ["macro", "max_forgetting"])
    assert [row[1] for row in rows] == ["score", "strict", "tolerant"]
    assert rows[1][2:] == ["35.0 ± 0.0", "60.0 ± 0.0"] and rows[2][2:] == ["60.0 ± 0.0", "10.0 ± 0.0"]
    assert both_scores_table([("adapt", [summaries[0], summarise(lacking)])]) == []


def test_the_difference_to_the_baseline_is_split_into_skill_and_format():
    rows = [record("adapt", TOLERANT, tolerant=TOLERANT), record("random_replay", STRICT, tolerant=TOLERANT)]
    found = results_table(rows).rows[0].against
    assert found is not None and found.num_tolerant == 2
    assert found.macro.interval.mean == pytest.approx(0.25)
    assert found.tolerant.interval.mean == 0.0 and found.format_only.interval.mean == pytest.approx(0.25)
    # Nobody knows the tolerant scores of the baseline: nothing is said of either part.
    alone = results_table([rows[0], record("random_replay", STRICT)]).rows[0].against
    assert alone is not None and alone.num_tolerant == 0 and np.isnan(alone.tolerant.interval.mean)


def test_markdown_json_and_frame_show_both(tmp_path):
    table = results_table(
        [record("adapt", STRICT, tolerant=TOLERANT, metrics=("exact", "cider")), record("random_replay", STRICT)]
    )
    text = long_table(table)
    assert "| adapt | strict | 35.0 |" in text and "| adapt | tolerant | 60.0 |" in text
    assert "| s1 | cider | 10 | 50.0 / 50.0 | 50.0 / – |" in text
    found = json.loads(json.dumps(table.as_json()))
    assert found["rows"][0]["strict_and_tolerant"]["tolerant"]["macro"]["mean"] == pytest.approx(60.0)
    assert found["rows"][1]["strict_and_tolerant"] is None
    frame = table.to_pandas()
    assert frame.loc["adapt", "macro_tolerant"] == pytest.approx(60.0)
    assert np.isnan(frame.loc["random_replay", "macro_tolerant"])
    assert "60.0" in table._repr_html_() and "cider" in table._repr_html_()


def test_records_come_back_with_both_scores_and_old_ones_with_what_they_lack_unknown(tmp_path):
    made = record("adapt", STRICT, tolerant=TOLERANT, metrics=("exact", "iou"), tests={"s0": "a"}, engine="vllm")
    path = tmp_path / "comparison.json"
    path.write_text(records_text({}, [made]))
    [found] = read_records(path).records
    np.testing.assert_array_equal(found.tolerant, made.tolerant)
    np.testing.assert_array_equal(found.items["s0"].tolerant, made.items["s0"].tolerant)
    assert (found.metrics, found.tests, found.engine) == (("exact", "iou"), {"s0": "a"}, "vllm")

    saved = json.loads(path.read_text())
    for name in ("tolerant", "standard_errors", "metrics", "tests", "engine"):
        del saved["records"][0][name]
    for items in saved["records"][0]["items"].values():
        del items["tolerant"]
    path.write_text(json.dumps(saved))
    [found] = read_records(path).records
    assert np.isnan(found.tolerant).all() and np.isnan(found.items["s0"].tolerant).all()
    assert found.metrics == ("", "") and found.engine == "hf"


def test_seeds_with_other_metrics_of_a_skill_are_both_named():
    one, other = (record("adapt", seed=seed, metrics=(name, "f1")) for seed, name in enumerate(("exact", "iou")))
    assert [line.metric for line in skill_lines({"adapt": [one, other]})] == ["exact or iou", "f1"]
