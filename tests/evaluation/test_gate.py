"""The gate, judged from small tables: which drops count, which are not decided, what is compared with what."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.data import Evaluation
from adaptinf.data.gate import Gate
from adaptinf.errors import StoreError
from adaptinf.evaluation.gate import judged
from adaptinf.evaluation.paired_items import PairedItems
from adaptinf.storage import tables

Rows = list[list[int | None]]
"""For each row of the matrix the scores of the items of one skill; an empty row: not tested."""
Z = 1.959963984540054


def evaluations(
    rows: Rows, *, rejected: tuple[int, ...] = (), tests: list[str | None] | None = None, logs: bool = True
):
    """Return the evaluation behind each row, with one skill."""
    means = [np.mean([score for score in row if score is not None]) if row else np.nan for row in rows]
    found = []
    for number, row in enumerate(rows):
        ids = [f"s/{item}" for item in range(len(row))] if logs else []
        found.append(
            Evaluation(
                skills=("s",),
                introduced_at=np.array([-1]),
                matrix=np.array(means[: number + 1]).reshape(-1, 1),
                num_items=np.array([len(row)]),
                frequency=np.array([1.0]),
                predictions={
                    "skill": tables.text_array(["s"] * len(ids)),
                    "id": tables.text_array(ids),
                    "prediction": tables.text_array([""] * len(ids)),
                    "answer": tables.text_array([""] * len(ids)),
                    "score": np.array([np.nan if score is None else score for score in row] if logs else [], float),
                },
                info={"tests": {"s": tests[: number + 1]}} if tests else {},
                rejected_rows=tuple(one for one in rejected if one < number),
            )
        )
    return found


def gate_of(rows: Rows, *, max_drop: float = 3.0, **others) -> Gate:
    found = evaluations(rows, **others)
    return judged(found[-1], lambda row: found[row], max_drop=max_drop, action="stop")


def counts_slowly(rows: Rows, max_drop: float) -> bool:
    """Tell whether the drop of the last row counts, in fractions and item by item."""
    shares = [Fraction(sum(row), len(row)) for row in rows]
    best = max(range(len(rows) - 1), key=lambda row: (shares[row], -row))
    if (shares[best] - shares[-1]) * 100 <= Fraction(max_drop):
        return False
    lost = sum(1 for before, after in zip(rows[best], rows[-1], strict=True) if before > after) + Fraction(1, 2)
    won = sum(1 for before, after in zip(rows[best], rows[-1], strict=True) if before < after) + Fraction(1, 2)
    total = len(rows[-1]) + 2
    variance = (lost + won) / total - ((lost - won) / total) ** 2
    return float((lost - won) / total) - Z * math.sqrt(variance / total) > 0


binary_rows = st.integers(1, 60).flatmap(
    lambda count: st.lists(st.lists(st.sampled_from([0, 1]), min_size=count, max_size=count), min_size=2, max_size=4)
)


@given(binary_rows, st.sampled_from([0.0, 1.0, 3.0, 10.0, 50.0]))
def test_no_drop_that_counts_passes_and_no_other_is_held_against_a_step(rows, max_drop):
    gate = gate_of(rows, max_drop=max_drop)
    assert gate.is_passed is not counts_slowly(rows, max_drop)


@given(binary_rows)
def test_a_drop_beyond_the_limit_that_does_not_count_is_listed_with_the_items_that_would_decide(rows):
    (skill,) = gate_of(rows).skills
    is_beyond = round(skill.drop, 6) > 3.0
    assert (skill.verdict == "not decided") is (is_beyond and not counts_slowly(rows, 3.0))
    if skill.verdict == "not decided":
        assert skill.needed > skill.num_items
        assert f"not decided: {skill.num_items:,} item" in skill.line


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=25))
def test_the_number_of_items_that_would_decide_is_the_smallest_one(differences):
    found = PairedItems.of(np.array(differences))
    needed = found.items_needed()
    if found.mean <= 0:
        assert needed is None
        return
    for count in range(1, needed + 1):
        center = count * found.mean / (count + 2)
        variance = (count * found.square + 1) / (count + 2) - center**2
        assert (center - Z * math.sqrt(variance / (count + 2)) > 1e-12) == (count == needed) or count > needed


def test_few_items_decide_nothing_even_where_all_of_them_are_lost():
    assert gate_of([[1, 1], [0, 0]]).skills[0].verdict == "not decided"
    assert gate_of([[1, 1, 1], [0, 0, 0]]).skills[0].verdict == "dropped"


def test_a_drop_of_exactly_the_limit_passes():
    before, after = [1] * 55 + [0] * 45, [1] * 50 + [0] * 50
    assert gate_of([before, after], max_drop=5.0).skills[0].verdict == "kept"
    assert gate_of([before, after], max_drop=4.9).skills[0].verdict == "dropped"


def test_a_rejected_row_is_not_what_a_step_is_compared_with():
    rows = [[1] * 20 + [0] * 20, [1] * 40, [1] * 20 + [0] * 20]
    assert gate_of(rows).of("dropped")
    (skill,) = gate_of(rows, rejected=(1,)).skills
    assert (skill.verdict, skill.best_step) == ("kept", -1)


def test_the_earliest_of_several_best_rows_is_named():
    (skill,) = gate_of([[0] * 40, [1] * 40, [1] * 40, [0] * 40]).skills
    assert (skill.best_step, skill.verdict) == (0, "dropped")


def test_rows_that_were_tested_with_other_items_are_not_compared():
    rows = [[1] * 40, [1] * 40, [0] * 40]
    (skill,) = gate_of(rows, tests=["old", "old", "new"]).skills
    assert (skill.verdict, skill.drop) == ("not compared", None)
    assert "same items" in skill.line
    assert gate_of(rows, tests=["old", "new", "new"]).skills[0].best_step == 0


def test_a_skill_that_was_not_tested_after_the_step_is_said_to_be_left_out():
    gate = gate_of([[1] * 40, []])
    assert gate.is_passed
    assert list(gate.lines()) == ["s: not compared: it was not tested after this step"]


def test_a_skill_without_items_is_compared_by_size_alone_and_this_is_said():
    gate = gate_of([[1, 1, 1, 1], [1, 1, 1, 0]], logs=False)
    assert gate.skills[0].verdict == "dropped"
    assert "by size alone" in next(gate.lines())
    small = gate_of([[1] * 100, [1] * 98 + [0] * 2], logs=False)
    assert small.is_passed
    assert small.size_line == "compared by size alone, as no scores of single items are known: s"


def test_items_without_a_score_are_left_out_of_the_interval():
    rows: Rows = [[1] * 30 + [None] * 10, [0] * 30 + [1] * 10]
    assert gate_of(rows).skills[0].num_items == 30


def test_a_skill_is_compared_with_the_base_model_that_was_tested_on_it_later():
    found = evaluations([[], [0] * 40])
    base = evaluations([[1] * 40])[0]
    gate = judged(found[-1], lambda row: base if row == 0 else found[row], max_drop=3.0, action="warn")
    assert (gate.skills[0].verdict, gate.skills[0].best_step) == ("dropped", -1)


def test_a_gate_is_read_as_it_was_written(tmp_path):
    gate = gate_of([[1] * 8 + [0] * 2, [1] * 7 + [0] * 3])
    gate.save(tmp_path)
    assert Gate.load(tmp_path) == gate


@pytest.mark.parametrize("text", ["[]", "{}", '{"skills": [{}], "rejected": true, "max_drop": 1, "action": "stop"}'])
def test_a_damaged_gate_is_named(tmp_path, text):
    (tmp_path / Gate.FILE).write_text(text)
    with pytest.raises(StoreError, match=r"gate\.json"):
        Gate.load(tmp_path)


def test_the_gate_is_saved_in_one_piece_with_its_evaluation(tmp_path):
    from dataclasses import replace

    found = evaluations([[1] * 40, [0] * 40])[-1]
    gate = replace(gate_of([[1] * 40, [0] * 40]), is_rejected=True)
    replace(found, gate=gate, rejected_rows=(1,)).save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    assert (loaded.gate, loaded.rejected_rows) == (gate, (1,))
    assert np.isnan(loaded.comparable_matrix[1]).all() and not np.isnan(loaded.matrix[1]).any()
    found.save(tmp_path)  # without a gate, where a killed attempt had left one
    assert Evaluation.load(tmp_path).gate is None
