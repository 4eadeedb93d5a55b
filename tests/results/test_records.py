"""Records: what a run amounts to, by hand; to JSON and back with nothing lost that a table needs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from adaptinf.data import Evaluation
from adaptinf.errors import StoreError
from adaptinf.results.items import ItemScores
from adaptinf.results.recording import item_scores, model_fingerprint, record_of
from adaptinf.results.records import read_records, records_text
from adaptinf.results.summary import summarise
from adaptinf.runs import Run
from adaptinf.runs.environment import environment
from adaptinf.storage import tables
from tests.helpers.results import record
from tests.helpers.run_folders import run_folder

NAN = float("nan")
LEFT_OUT = {"unreadable": ["a", "b"], "without_answer": ["c"]}


def test_scores_of_zero_and_one_are_bits_and_others_thousandths():
    packed = ItemScores(digest="x", scores=np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0])).packed()
    assert packed == {"digest": "x", "items": 9, "bits": "9880"}
    assert ItemScores.unpacked(packed).scores.tolist() == [1, 0, 0, 1, 1, 0, 0, 0, 1]
    packed = ItemScores(digest="x", scores=np.array([1.0, 0.6667, 0.0, NAN])).packed()
    assert packed == {"digest": "x", "items": 4, "thousandths": "1000 667 0 -1"}
    np.testing.assert_array_equal(ItemScores.unpacked(packed).scores, [1.0, 0.667, 0.0, NAN])


def test_a_record_is_what_the_folders_say(tmp_path):
    datasets = {"one": ["s0", "s0", "s1"], "two": ["s0", "s1", "s1"]}
    run = run_folder(
        tmp_path / "run", "adapt", [[0.0, 0.2], [0.8, 0.4], [1 / 3, 0.5]], datasets=datasets, left_out=LEFT_OUT
    )
    found = record_of(run, name="mine", settings={"cap": 5}, stream="pets")
    assert (found.name, found.method, found.seed, found.stream, found.settings) == (
        "mine",
        "adapt",
        0,
        "pets",
        {"cap": 5},
    )
    assert found.matrix.tolist()[2] == [0.333333, 0.5] and found.skills == ("s0", "s1")
    first, second = found.steps
    assert (first.dataset, first.pool, second.pool) == ("one", 3, 6)
    # Ten samples were chosen in the second step; one had no answer, and of two the images were gone.
    assert (first.trained, second.trained, second.optimizer_steps) == (10, 7, 4)
    assert second.selection_seconds == pytest.approx(3.0) and second.training_seconds == 2.0
    # Clusters are the skills in step 0; in step 1 all is one cluster, which says nothing about skills.
    assert first.agreement == 1.0 and second.agreement == 0.0
    # `s1` is rare by the frequencies of the tests: 1 of 3 chosen at first, 3 of 6 then.
    assert (first.rare_share, second.rare_share) == (0.333333, 0.5)
    assert found.items["s0"].scores.sum() == round(10 / 3) and len(found.items["s0"].scores) == 10
    assert found.made_by["version"] and found.cap is None and found.budget == 10


def test_without_the_pool_a_record_is_read_quickly(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", [[0.0, 0.2], [0.8, 0.4]], datasets={"one": ["s0", "s1"]})
    found = record_of(run, in_detail=False)
    assert found.steps[0].agreement is None and found.fingerprint is None and found.name == "adapt"


def test_a_run_that_tests_nothing_has_a_record_of_its_costs(tmp_path):
    run = Run.open(run_folder(tmp_path / "run", "adapt", [[], []]).folder)
    found = record_of(run)
    assert found.skills == () and found.items == {} and found.steps[0].trained == 10
    row = summarise(found)
    assert np.isnan(row.macro) and np.isnan(row.worst_skill) and row.samples_trained == 10


def test_records_go_through_json_and_back(tmp_path):
    records = [record("b", seed=1), record("a", [[0.0, NAN], [0.5, 0.25]], seed=0), record("b", seed=0)]
    text = records_text({"python": "3"}, records, ["b", "a"])
    (tmp_path / "comparison.json").write_text(text)
    saved = read_records(tmp_path / "comparison.json")
    assert [(one.name, one.seed) for one in saved.records] == [("a", 0), ("b", 0), ("b", 1)]
    assert saved.rows == ["b", "a"] and saved.environment == {"python": "3"}
    # One line a record; the same records in any order are the same bytes.
    assert len(text.splitlines()) == 3 + len(records) + 1
    assert records_text({"python": "3"}, saved.records[::-1], saved.rows) == text
    before = {(one.name, one.seed): summarise(one) for one in records}
    for one in saved.records:
        after = summarise(one)
        np.testing.assert_equal(vars(after), vars(before[one.name, one.seed]))


def test_a_file_that_is_no_comparison_is_told(tmp_path):
    path = tmp_path / "comparison.json"
    for wrong in ({"rows": []}, {"environment": {}, "rows": [], "records": [{"name": "x"}]}, [1]):
        path.write_text(json.dumps(wrong))
        with pytest.raises(StoreError, match=r"is not a comparison .*adaptinf compare"):
            read_records(path)


def test_a_fingerprint_changes_with_any_file_of_the_model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = model_fingerprint(str(tmp_path))
    model_fingerprint.cache_clear()
    assert model_fingerprint(str(tmp_path)) == before
    (tmp_path / "model.safetensors").write_bytes(b"two")
    model_fingerprint.cache_clear()
    assert model_fingerprint(str(tmp_path)) != before and model_fingerprint("a/hub-name") is None


def test_the_environment_names_versions_and_hardware():
    found = environment(threads_per_run=1)
    names = {"adaptinf", "git_sha", "python", "torch", "transformers", "numpy", "scikit-learn", "processor", "cores"}
    assert names | {"threads_per_run", "system", "utc_time"} == set(found)
    assert found["processor"] and found["cores"] >= 1
    assert tables.as_json_text(found)
    assert environment(threads_per_run=1, gpu="a GPU")["gpu"] == "a GPU"


def test_items_with_other_right_answers_are_other_items():
    def digest(answers):
        predictions = {
            "skill": tables.text_array(["a", "a"]),
            "id": tables.text_array(["0", "1"]),
            "answer": tables.text_array(answers),
            "score": np.array([1.0, 0.0]),
        }
        one = np.zeros(1)
        evaluation = Evaluation(
            skills=("a",), introduced_at=one.astype(int), matrix=np.full((1, 1), 0.5), num_items=one + 2,
            frequency=one, predictions=predictions,
        )  # fmt: skip
        return item_scores(evaluation)["a"].digest

    assert digest(["red", "blue"]) == digest(["red", "blue"]) != digest(["red", "green"])


def test_a_comparison_without_tests_is_read_again(tmp_path):
    nothing = {"tolerant": np.zeros(0), "standard_errors": np.zeros(0), "metrics": ()}
    saved = replace(
        record("adapt"), skills=(), matrix=np.zeros((3, 0)), introduced_at=np.zeros(0, int), items={}, **nothing
    )
    path = tmp_path / "comparison.json"
    path.write_text(records_text({}, [saved]))
    assert read_records(path).records[0].matrix.shape == (3, 0)


def test_a_record_prints_as_one_line_and_becomes_a_data_frame_with_one_row_per_step():
    one = record("mine", [[0.0, 0.2], [0.5, NAN], [0.75, 0.25]], method="adapt", seed=3)
    assert repr(one) == "RunRecord('mine', seed 3: adapt, 2 steps, accuracy 50.0 % over 2 skills)"
    frame = one.to_pandas()
    assert list(frame["dataset"]) == ["d0", "d1"] and frame.index.name == "step"
    np.testing.assert_equal(frame[["s0", "s1"]].to_numpy(), [[0.5, NAN], [0.75, 0.25]])
    assert list(frame["trained"]) == [step.trained for step in one.steps]
    untested = replace(one, skills=(), matrix=np.zeros((3, 0)))
    assert repr(untested) == "RunRecord('mine', seed 3: adapt, 2 steps)" and len(untested.to_pandas()) == 2
    assert "mine" in one._repr_html_() and "<td>0.75</td>" in one._repr_html_().replace("0.7500", "0.75")


def test_a_saved_comparison_prints_its_runs_and_rows(tmp_path):
    (tmp_path / "comparison.json").write_text(records_text({}, [record("b"), record("a", seed=1)], ["b", "a"]))
    assert repr(read_records(tmp_path / "comparison.json")) == "SavedComparison(2 runs; rows: b, a)"
