"""The time left, by hand: known for the stage at once, for step and stream as soon as the costly stages are."""

from __future__ import annotations

import shutil

import pytest

from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.config.schema import SkillConfig
from adaptinf.data import Checked, Features
from adaptinf.runs import BASE_STEP, Run, kept_forecast
from adaptinf.runs.activity import Activity, Place
from adaptinf.runs.heartbeat import Heartbeat, StageBeat
from adaptinf.runs.remaining import Remaining, remaining
from adaptinf.runs.step_folders import StepFolders

FORECAST = {"features": 0.1, "model": 0.2}


@pytest.fixture
def run(tmp_path) -> Run:
    config = RunConfig(
        stream=[DatasetConfig(name=name, path="x") for name in ("one", "two")],
        evaluation=[SkillConfig(skill="s", path="y")],
    )
    config = config.model_copy(
        update={
            "selection": config.selection.model_copy(update={"budget": 20}),
            "pruning": config.pruning.model_copy(update={"cap": "none"}),
        }
    )
    return Run.create(tmp_path / "run", config)


@pytest.fixture(autouse=True)
def nothing_kept(own_cache):
    yield
    shutil.rmtree(own_cache / kept_forecast.KIND, ignore_errors=True)


def at(place: Place, **bar: object) -> Activity:
    """Return a process in a stage with a bar."""
    stage = StageBeat.model_validate({"title": "x", **bar})
    beat = Heartbeat(process=1, host="h", number=1, began=0, time=0, stages=(stage,))
    return Activity(state="running", process=1, beat=beat, place=place)


def left(run: Run, activity: Activity, seconds: dict[tuple[int, str], float] | None = None) -> Remaining:
    return remaining(run, activity, num_rows=[100, 100], seconds=seconds or {}, folders=StepFolders.of(run))


TESTING = at(Place(BASE_STEP, "evaluation"), done=5, total=10, unit="items", rate=1.0)


def test_while_the_base_model_is_tested_the_stage_has_a_time_and_what_is_not_known_is_named(run):
    found = left(run, TESTING)
    assert (found.stage, found.step, found.stream) == (5.0, None, None)
    assert found.unknown == ("extraction", "training")


def test_with_the_doctors_forecast_step_and_stream_have_a_time_while_the_base_model_is_tested(run):
    kept_forecast.keep(run.settings, FORECAST)
    found = left(run, TESTING)
    # The base's test, then 100 samples measured, 20 trained, 10 items; the second step measures 200.
    assert found.step == pytest.approx(5 + 100 * 0.1 + 20 * 0.2 + 10)
    assert found.stream == pytest.approx(29 + 200 * 0.1 + 20 * 0.2 + 10)
    assert found.guessed == ("extraction as the doctor has measured it", "training as the doctor has measured it")


def test_a_forecast_for_another_model_or_of_a_damaged_file_is_none(run, own_cache):
    kept_forecast.keep(run.settings, FORECAST)
    other = run.settings.model_copy(update={"model": run.settings.model.model_copy(update={"path": "/other"})})
    assert kept_forecast.kept(other) == {}
    as_answered = run.settings.model.model_copy(update={"dtype": "float32"})
    assert kept_forecast.kept(run.settings.model_copy(update={"model": as_answered})) == FORECAST
    for path in own_cache.glob(f"{kept_forecast.KIND}/*/*"):
        path.write_text("{]")
    assert kept_forecast.kept(run.settings) == {}


def test_what_this_run_has_measured_counts_more_than_the_forecast(run):
    kept_forecast.keep(run.settings, FORECAST)
    done = {(BASE_STEP, "evaluation"): 0.0, (0, "features"): 50.0}
    for place in (run.step_folder(0) / "features", run.step_folder(BASE_STEP) / "evaluation"):
        place.mkdir(parents=True)
    (run.step_folder(BASE_STEP) / "evaluation").rmdir()
    found = left(run, at(Place(0, "model"), done=10, total=20, rate=2.0), done)
    assert found.stage == 5.0 and found.unknown == ("evaluation",)


def test_training_is_guessed_from_extraction_where_nothing_else_is_known(run):
    config = run.config.model_copy(update={"evaluation": []})
    run = Run(folder=run.folder, config=config)
    found = left(run, at(Place(0, "features"), done=50, total=100, rate=10.0))
    assert found.stage == 5.0 and found.guessed == ("training as costly per sample as extraction",)
    assert found.step == pytest.approx(5 + 20 * 0.1)
    assert found.stream == pytest.approx(7 + 200 * 0.1 + 20 * 0.1)


def test_a_finished_run_has_nothing_left(run):
    for step in range(2):
        for stage in (Checked.stage, Features.stage, "clusters", "selection", "model", "evaluation", "pruning"):
            (run.step_folder(step) / stage).mkdir(parents=True)
    (run.step_folder(BASE_STEP) / "evaluation").mkdir(parents=True)
    (run.folder / "base/evaluation/matrix.json").write_text(
        '{"skills": ["s"], "introduced_at": [0], "scores": [[0.5]], "num_items": [10], "frequency": [1.0]}'
    )
    assert left(run, Activity(state="at rest")).stream == 0.0


def test_the_forecast_is_kept_for_one_user_alone(run, own_cache, monkeypatch):
    kept_forecast.keep(run.settings, FORECAST)
    (folder,) = (own_cache / kept_forecast.KIND).iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("ADAPTINF_CACHE", "/proc/nowhere")
    kept_forecast.keep(run.settings, FORECAST)
    assert kept_forecast.kept(run.settings) == {}


def test_the_doctors_rates_become_seconds_of_a_sample_with_all_workers():
    from adaptinf.doctor.forecast import Plan, Rates, seconds_per_sample

    plan = Plan(num_rows=(10,), cap=None, budget=5, num_workers=4, num_devices=2)
    assert seconds_per_sample(plan, Rates(10.0, 4.0)) == pytest.approx({"features": 0.025, "model": 0.125})
    assert "model" not in seconds_per_sample(plan, Rates(10.0, None))
