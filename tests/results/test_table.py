"""The table of a comparison from records alone, by hand: means, differences, budgets, and what is said under it."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptinf.cli.console_tables import show_comparison
from adaptinf.results.columns import COLUMN, COLUMNS, READING, p_text, paired_test_text, worded
from adaptinf.results.markdown import long_table, markdown_table, short_table
from adaptinf.results.records import records_text
from adaptinf.results.table import results_table
from adaptinf.selection import Traits
from tests.helpers.results import record

NAN = float("nan")
BETTER = [[0.0, 0.2], [0.5, 0.4], [0.9, 0.8]]
WORSE = [[0.0, 0.2], [0.5, 0.4], [0.6, 0.5]]


def three_rows(seeds=(0, 1)):
    return [
        record(name, matrix, seed=seed)
        for seed in seeds
        for name, matrix in (
            ("adapt", BETTER),
            ("random_replay", WORSE),
            ("multitask", [[0.0, 0.0], [0.9, 0.1], [1.0, 1.0]]),
        )
    ]


def test_one_row_a_method_with_means_over_seeds():
    table = results_table(three_rows(), ["multitask", "adapt"])
    assert [row.name for row in table.rows] == ["multitask", "adapt", "random_replay"]
    values = {row["name"]: row for row in table.as_json()["rows"]}
    adapt = values["adapt"]
    assert adapt["macro"]["mean"] == pytest.approx(85.0) and adapt["micro"]["mean"] == pytest.approx(
        100 * (2.7 + 0.8) / 4
    )
    assert adapt["worst_skill"]["mean"] == pytest.approx(80.0) and adapt["relative_gain"]["mean"] == pytest.approx(85.0)
    # Skill 0 alone has a row after its introduction: from 0.5 to 0.9, 80 % gained.
    assert adapt["forgetting_signed"]["mean"] == pytest.approx(-80.0) and adapt["forgetting_clipped"]["mean"] == 0.0
    assert adapt["over_time"]["mean"] == pytest.approx(100 * (0.5 + 0.85) / 2)
    assert adapt["backward_transfer"]["mean"] == pytest.approx(40.0)
    assert adapt["max_forgetting"]["mean"] == pytest.approx(-40.0)
    assert adapt["forward_transfer"]["mean"] == pytest.approx(20.0)
    assert adapt["samples_trained"]["mean"] == 20 and adapt["selection_seconds"]["mean"] == 3.0
    assert table.references == ["multitask, after the last step"] and table.seeds == [0, 1]


def test_a_row_is_measured_against_random_replay_on_seeds_and_items():
    table = results_table(three_rows())
    by_name = {row.name: row for row in table.rows}
    assert by_name["random_replay"].against is None
    found = by_name["adapt"].against
    # 0.3 of skill 0 and 0.3 of skill 1, of ten items each: 30 points in both averages.
    assert found.macro.interval.mean == pytest.approx(0.3) and found.micro.interval.mean == pytest.approx(0.3)
    # Both seeds have the same ten items, so two seeds leave as much open as one.
    assert 0.0 < found.macro.interval.low < 0.2 and 0.4 < found.macro.interval.high < 0.6
    assert found.macro.p_value < 0.01 and np.isnan(found.macro.effect) and found.num_seeds == 2
    # Or against any other row.
    other = {row.name: row.against for row in results_table(three_rows(), baseline="adapt").rows}
    assert other["adapt"] is None and other["random_replay"].macro.interval.mean == pytest.approx(-0.3)
    # Points of micro accuracy follow the frequencies 3 : 1.
    uneven = results_table(
        [record("mine", [[0.0, 0.0], [0.5, 0.5]]), record("random_replay", [[0.0, 0.0], [0.3, 0.9]])]
    )
    macro, micro = uneven.rows[0].against.macro, uneven.rows[0].against.micro
    assert macro.interval.mean == pytest.approx(-0.1) and micro.interval.mean == pytest.approx((3 * 0.2 - 0.4) / 4)


def test_the_effect_is_the_mean_over_the_spread_of_the_seeds():
    records = [
        record(name, [[0.0], [0.5], [share]], seed=seed)
        for name, shares in (("mine", (0.7, 0.9)), ("random_replay", (0.5, 0.5)))
        for seed, share in enumerate(shares)
    ]
    # Differences 0.2 and 0.4: mean 0.3, deviation 0.1414.
    assert results_table(records).rows[0].against.macro.effect == pytest.approx(0.3 / 0.02**0.5)


def test_any_row_is_judged_also_one_without_a_seed_of_its_own():
    records = [*three_rows((0, 1)), record("mine", seed=7)]
    table = results_table(records)
    assert next(row for row in table.rows if row.name == "mine").against is None
    assert "not run with seeds 0, 1, so their means are over fewer seeds: mine" in table.notes


def test_a_row_that_trained_on_fewer_samples_is_marked_and_counted(capsys):
    records = [
        record("adapt", trained=[10, 10]),
        record("sequential", trained=[10, 6]),
        record("random_replay", trained=[10, 10]),
        record("multitask", trained=[20, 40]),
    ]
    table = results_table(records)
    assert [row.num_fewer for row in table.rows] == [0, 4, 0, 0] and table.errors == []
    assert "sequential trained on 4 fewer samples per seed than the others" in table.notes
    show_comparison(table)
    said = capsys.readouterr().out
    assert "sequential †" in said and "† sequential trained on 4 fewer samples per seed than the others" in said
    assert "| sequential † |" in short_table(table)


def test_a_budget_that_no_row_could_reach_marks_none():
    table = results_table([record("adapt", trained=[5, 10]), record("random_replay", trained=[5, 10])])
    assert all(row.num_fewer == 0 for row in table.rows)


def test_methods_of_ones_own_are_compared_as_what_they_say_that_they_are():
    upper = Traits(role="upper reference", whole_pool=True)
    records = [
        record("adapt", BETTER),
        replace(record("coin", WORSE), traits=Traits(role="baseline")),
        replace(record("everything", [[0.0, 0.0], [0.9, 0.1], [1.0, 1.0]], trained=[10, 30]), traits=upper),
    ]
    table = results_table(records)
    assert table.baseline == "coin" and table.references == ["everything, after the last step"]
    assert table.rows[0].against.macro.interval.mean == pytest.approx(0.3)
    assert table.errors == [], "the whole pool is no budget that was exceeded"
    # A variant of the baseline is a row like any other, and records that were read have what is registered.
    variant = record("coin_twice", WORSE, method="coin")
    assert results_table([*records, replace(variant, traits=Traits(role="baseline"))]).baseline == "coin"
    assert "traits" not in records[1].as_json() and record("coin").method_traits.role == "method"


def test_a_row_that_trained_on_more_than_the_budget_is_an_error():
    records = [record("adapt"), record("big", trained=[10, 15], budget=15), record("random_replay")]
    table = results_table(records)
    assert len(table.errors) == 1 and "big trained on 15 samples in step 1 of seed 0" in table.errors[0]
    assert "budget of this comparison is 10" in table.errors[0]
    # The rows that kept to it are not said to have trained on too little.
    assert all(row.num_fewer == 0 for row in table.rows)
    assert "NOT COMPARABLE" in long_table(table)


def test_other_test_items_are_told_and_not_compared():
    records = [record("adapt", ids="old"), record("random_replay"), record("sequential")]
    table = results_table(records)
    assert [row.against is None for row in table.rows] == [True, True, False]
    (line,) = [note for note in table.notes if "tested differently" in note]
    assert line.startswith(
        "seed 0: adapt and random_replay were tested differently on s0 (other test items), s1 (other"
    )


def test_runs_that_are_behind_are_left_out_and_named():
    table = results_table([*three_rows((0,)), record("adapt", WORSE[:2], seed=1)])
    assert table.seeds == [0] and "adapt seed 1 (1)" in table.notes[0]


def test_caps_are_said(capsys):
    capped = [record("lite_adapt", cap=40), record("lite_two", cap=40), record("random_replay")]
    assert "all rows with a cap have the same: 40 samples (lite_adapt, lite_two)" in results_table(capped).notes
    assert any(line.startswith("caps differ") for line in results_table([*capped, record("other", cap=20)]).notes)
    assert "no row has a cap: no samples were pruned" in results_table([record("adapt")]).notes


def test_every_printer_has_the_same_numbers(capsys):
    table = results_table(
        [*three_rows(), record("fisher", BETTER, method="adapt", settings={"extraction.vector": "fisher"})]
    )
    show_comparison(table)
    said = capsys.readouterr().out
    # The README's lines and a terminal of 100 columns.
    assert max(map(len, said.splitlines()[:-4])) <= 100
    short, long = short_table(table), long_table(table)
    for text in (said, short, long):
        assert "85.0" in text and "+30.0" in text
        assert ("multitask, after the last step" in text) == (text != short)
    assert short.count("\n| ") == 4 and "| forgetting (clipped) |" in short
    assert "- fisher: adapt, `extraction.vector: fisher`" in long
    assert "not run with seeds 1, so their means are over fewer seeds: fisher" in said


def test_what_is_not_known_is_a_dash(capsys):
    table = results_table([record("adapt", [[0.0], [0.5]], first=[0])])
    assert table.rows[0].against is None
    assert "| – |" in short_table(table)
    show_comparison(table)
    assert "against random_replay" not in capsys.readouterr().out


def test_small_p_values_are_bounds():
    assert [p_text(value) for value in (0.00025, 0.0312, 0.5)] == ["< 0.001", "= 0.031", "= 0.50"]
    assert markdown_table([["a"], ["b|c"]]) == "| a |\n|---|\n| b\\|c |"


def test_the_code_of_the_documentation_makes_a_table_from_the_file(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
    block = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "runs" / "cmp").mkdir(parents=True)
    (tmp_path / "runs" / "cmp" / "comparison.json").write_text(records_text({}, three_rows()))
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/compare.md", "exec"), {})
    assert capsys.readouterr().out.startswith("| method | accuracy | micro |")


def test_a_variant_of_the_reference_does_not_replace_it():
    records = [*three_rows((0,)), record("many", [[0.0, 0.0], [0.5, 0.5], [0.5, 0.5]], method="multitask")]
    values = {row["name"]: row for row in results_table(records).as_json()["rows"]}
    assert values["adapt"]["relative_gain"]["mean"] == pytest.approx(85.0)


def test_a_table_becomes_a_data_frame_with_one_row_per_method():
    table = results_table(three_rows(), ["multitask", "adapt"])
    frame = table.to_pandas()
    assert list(frame.index) == ["multitask", "adapt", "random_replay"] and frame.index.name == "name"
    values = {row["name"]: row for row in table.as_json()["rows"]}
    for column in COLUMNS:
        for name, row in values.items():
            found = [frame.loc[name, f"{column.field}{end}"] for end in ("", "_low", "_high")]
            np.testing.assert_equal(found, [row[column.field][end] for end in ("mean", "low", "high")])
    adapt = frame.loc["adapt"]
    assert (adapt["method"], adapt["seeds"]) == ("adapt", 2)
    expected = values["adapt"]["against_random_replay"]["micro"]
    found = [adapt[f"micro_difference{end}"] for end in ("", "_low", "_high", "_p_value")]
    assert found == [expected[key] for key in ("points", "low", "high", "p_value")]
    assert np.isnan(frame.loc["random_replay", "macro_difference"])


def test_a_notebook_shows_the_same_cells_and_notes_with_names_escaped():
    table = results_table([*three_rows(), record("<b>", method="adapt")])
    assert repr(table) == "ResultsTable(rows: adapt, random_replay, multitask, <b>; seeds: [0, 1]; budget: 10)"
    shown = table._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", shown)[1:]
    cells = [html.unescape(text) for text in re.findall(r"<td>(.*?)</td>", rows[0])]
    adapt = table.rows[0]
    assert cells[: 1 + len(COLUMNS)] == ["adapt", *(worded(column, adapt.members) for column in COLUMNS)]
    assert cells[1 + len(COLUMNS) :] == [paired_test_text(adapt.against.macro), paired_test_text(adapt.against.micro)]
    assert "<td>&lt;b&gt;</td>" in rows[3] and "<b>" not in shown
    assert [html.unescape(line) for line in re.findall(r"<li>(.*?)</li>", shown)] == [*table.note_lines(), *READING]


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("forgetting_signed", 4.9, "4.9 lost"),
        ("forgetting_signed", -1.2, "−1.2 gained"),
        ("backward_transfer", 0.02, "2.0 gained"),
        ("backward_transfer", -0.031, "−3.1 lost"),
        ("backward_transfer", -0.0001, "0.0"),
        ("forgetting_clipped", 4.9, "4.9"),
        ("macro", 0.5, "50.0"),
    ],
)
def test_a_sign_that_may_be_misread_has_its_word(field, value, text):
    (member,) = results_table([record("adapt")]).rows[0].members
    assert worded(COLUMN[field], [replace(member, **{field: value})]) == text


def test_one_seed_is_called_one_and_fewer_than_three_are_said_to_be_few():
    for seeds, said in (((7,), "one seed: another seed"), ((0, 1), "2 seeds, fewer than three"), ((0, 1, 2), None)):
        table = results_table([record("adapt", seed=seed) for seed in seeds])
        notes = [line for line in table.note_lines() if "seed:" in line or "fewer than three" in line]
        assert notes == [] if said is None else notes[0].startswith(said)
    assert results_table([record("adapt", seed=7)]).note_lines()[0].startswith("seed 7; budget")
