"""Several methods over one stream: the same settings for all, one row each, and a reference that is named."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from queue import Queue

import numpy as np
import pytest

from adaptinf import config as configuration
from adaptinf.cli.console_tables import show_summary
from adaptinf.compare import PlannedRun, plan, processes, run_planned, same_config
from adaptinf.compare.variants import ComparisonRow
from adaptinf.config import DatasetConfig, ModelConfig, RunConfig
from adaptinf.data import Evaluation, SavedPruning, Trained
from adaptinf.errors import ConfigError
from adaptinf.progress import Silent
from adaptinf.results.outcomes import summarised_runs
from adaptinf.results.recording import record_of
from adaptinf.results.summary import summarise, upper_reference
from adaptinf.runs import Run
from adaptinf.storage import tables
from tests.helpers.run_folders import run_folder
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

NAN = float("nan")


def test_a_summary_has_the_numbers_of_the_last_row_by_hand(tmp_path):
    run = run_folder(tmp_path / "adapt", "adapt", [[0.0, 0.2], [0.8, 0.4], [0.6, 0.5]], left_out={"unreadable": ["a"]})
    row = summarise(record_of(run), reference=np.array([0.5, 0.5]))
    assert (row.method, row.seed, row.num_steps, row.samples_trained) == ("adapt", 0, 2, 19)
    assert row.macro == pytest.approx(0.55)
    assert row.micro == pytest.approx(0.9 * 0.6 + 0.1 * 0.5)
    assert (row.rare, row.common) == (pytest.approx(0.5), pytest.approx(0.6))
    assert row.relative_gain == pytest.approx(110.0)
    assert row.forgetting_signed == pytest.approx((25.0 - 25.0) / 2)
    assert row.forgetting_clipped == pytest.approx(12.5)
    assert (row.selection_seconds, row.training_seconds) == (pytest.approx(2 * (2.5 + 0.5)), pytest.approx(2 * 2.0))


def test_the_reference_is_multitask_else_the_best_of_sequential_else_nothing(tmp_path):
    adapt = run_folder(tmp_path / "adapt", "adapt", [[0.1, 0.1], [0.4, 0.5]])
    sequential = run_folder(tmp_path / "sequential", "sequential", [[NAN, 0.1], [0.9, 0.2], [0.3, 0.6]])
    multitask = run_folder(tmp_path / "multitask", "multitask", [[0.1, 0.1], [0.7, 0.8]])
    reference, name = upper_reference([record_of(run) for run in (adapt, sequential, multitask)])
    assert reference.tolist() == [0.7, 0.8] and "multitask" in name
    reference, name = upper_reference([record_of(run) for run in (adapt, sequential)])
    assert reference.tolist() == [0.9, 0.6] and "sequential" in name
    reference, name = upper_reference([record_of(adapt)])
    assert reference is None and "none" in name
    assert np.isnan(summarised_runs([adapt]).rows[0].relative_gain)


def test_a_run_without_tests_or_steps_has_a_row_without_accuracies(tmp_path):
    run = Run.create(tmp_path / "run", RunConfig())
    (row,) = summarised_runs([run]).rows
    assert row.num_steps == 0 and row.samples_trained == 0
    assert np.isnan(row.macro) and np.isnan(row.forgetting_signed)


def test_the_table_names_its_reference_and_how_far_each_is_from_random(tmp_path, capsys):
    runs = [
        run_folder(tmp_path / "adapt", "adapt", [[0.1, 0.1], [0.6, 0.5]]),
        run_folder(tmp_path / "random_replay", "random_replay", [[0.1, 0.1], [0.4, 0.5]]),
    ]
    table = summarised_runs(runs)
    show_summary(table)
    said = capsys.readouterr().out
    assert "against random replay, points of accuracy: adapt +10.0 (one seed: a few points are noise)" in said
    assert "relative gain in % of: none" in said
    saved = json.loads(tables.as_json_text(table.as_json()))
    assert [item["method"] for item in saved["rows"]] == ["adapt", "random_replay"]
    assert saved["rows"][0]["relative_gain"] is None


def planned_methods(config: RunConfig, names: list[str], folder: Path, *, seeds=(0,)) -> list[PlannedRun]:
    rows = [ComparisonRow(name=name, method=name, settings={}) for name in names]
    return plan(rows, seeds, same_config(config), lambda row, seed: folder / row.name / f"seed-{seed}")


def test_a_wrong_method_is_refused_before_any_folder_is_made(tmp_path):
    with pytest.raises(ConfigError, match="unknown selector"):
        planned_methods(RunConfig(), ["adapt", "nonsense"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_runs_are_planned_seed_by_seed_so_that_early_results_are_pairs(tmp_path):
    found = planned_methods(RunConfig(), ["adapt", "sequential"], tmp_path, seeds=(0, 1))
    assert [one.label for one in found] == ["adapt 0", "sequential 0", "adapt 1", "sequential 1"]
    assert [one.config.seed for one in found] == [0, 0, 1, 1]
    assert found[3].folder == tmp_path / "sequential" / "seed-1"


def test_a_method_of_the_users_own_is_known_to_a_comparison(tmp_path):
    mine = tmp_path / "mine_compared.py"
    mine.write_text(
        (Path(__file__).parents[2] / "examples" / "my_selector.py").read_text().replace("largest", "zz_mine")
    )
    found = planned_methods(RunConfig(plugins=[str(mine)]), ["zz_mine"], tmp_path)
    assert found[0].config.selection.method == "zz_mine"


def test_each_seed_and_method_may_have_settings_of_its_own(tmp_path):
    def config_of(seed: int, method: str) -> RunConfig:
        return RunConfig(stream=[DatasetConfig(name="d", path=f"data-{seed}-{method}")])

    rows = [ComparisonRow(name="fisher", method="adapt", settings={"extraction.vector": "fisher"})]
    found = plan(rows, [4, 5], config_of, lambda row, seed: tmp_path / str(seed))
    assert [one.config.stream[0].path for one in found] == ["data-4-adapt", "data-5-adapt"]
    assert all(one.config.extraction.vector == "fisher" for one in found)


def test_finished_methods_are_not_run_again_and_only_the_steps_asked_for_are_taken(tmp_path, monkeypatch):
    data = [write_dataset(tmp_path, name, rows(2)) for name in ("one", "two")]
    config = configuration.load(write_stream(tmp_path / "s.yaml", data))
    asked = []

    def note(unfinished, *_):
        asked.append([(one.row.name, steps) for one, steps in unfinished])

    monkeypatch.setattr(processes, "_run_unfinished", note)
    planned = planned_methods(config, ["adapt", "sequential"], tmp_path)
    made = run_planned(planned, progress=Silent(), num_steps=1)
    for kind in (Trained, SavedPruning):
        made[0].stage_folder(0, kind).mkdir(parents=True)
    run_planned(planned, progress=Silent(), num_steps=1)
    run_planned(planned, progress=Silent(), num_steps=9)
    assert asked == [[("adapt", 1), ("sequential", 1)], [("sequential", 1)], [("adapt", 2), ("sequential", 2)]]
    other = plan([planned[0].row], [1], same_config(config), lambda row, _: planned[0].folder)
    with pytest.raises(ConfigError, match="seed=0, now it is 1"):
        run_planned(other, progress=Silent())


@pytest.mark.parametrize(
    "device, has_gpu, wanted", [("auto", False, 8), ("auto", True, 1), ("cpu", True, 8), ("mps", False, 1)]
)
def test_one_run_at_a_time_where_they_would_share_a_gpu(tmp_path, monkeypatch, device, has_gpu, wanted):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    config = RunConfig(model=ModelConfig(path="x", device=device))
    planned = planned_methods(config, ["adapt", "sequential"], tmp_path)
    assert processes._default_workers([(one, 1) for one in planned]) == wanted


@pytest.mark.slow
def test_methods_run_in_worker_processes_and_a_failing_one_is_told(tmp_path):
    data = [write_dataset(tmp_path, "one", rows(6))]
    tests = [write_test(tmp_path, "sums", rows(4)[1::2])]
    config = configuration.load(write_stream(tmp_path / "s.yaml", data, tests))
    planned = planned_methods(config, ["random_replay", "sequential"], tmp_path)
    runs = run_planned(planned, progress=Silent(), num_workers=2)
    assert [run.num_finished for run in runs] == [1, 1]
    table = summarised_runs(runs)
    assert "sequential" in table.reference and all(row.num_steps == 1 for row in table.rows)
    # Every method saw the same base.
    assert runs[0].load(-1, Evaluation).matrix.tolist() == runs[1].load(-1, Evaluation).matrix.tolist()

    broken = config.model_copy(update={"model": config.model.model_copy(update={"path": str(tmp_path / "gone")})})
    with pytest.raises(Exception, match="gone"):
        run_planned(planned_methods(broken, ["oracle"], tmp_path), progress=Silent(), num_workers=1)


def test_a_run_that_ends_is_seen_while_others_never_stop_talking():
    talking, shown = Queue(), []

    class Talker:
        def show(self, message):
            shown.append(message)
            talking.put(message)  # there is always one more

    one, other = Future(), Future()
    one.set_result(None)
    talking.put("step")
    finished = []

    def on_finished():
        finished.append(len(shown))
        other.set_result(None)

    processes._relay_until_done([one, other], talking, Talker(), on_finished)
    assert len(finished) == 1 and len(shown) > 1
