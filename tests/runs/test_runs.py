"""A run folder: made or found, never with other settings, its stream may grow, its state is the folders that exist."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adaptinf import config as configuration
from adaptinf import runs
from adaptinf.config import DatasetConfig, RunConfig, SkillConfig
from adaptinf.data import ARTIFACTS, Evaluation, SavedPruning
from adaptinf.errors import ConfigError
from adaptinf.runs import BASE_STEP, STAGES, Run
from adaptinf.runs.status import status_of
from adaptinf.runs.stream import join
from adaptinf.storage import store
from tests.helpers.run_folders import edit_config
from tests.helpers.streams import rows

ONE = DatasetConfig(name="one", path="one.json")
TWO = DatasetConfig(name="two", path="two.json")


def config(*datasets: DatasetConfig, **changes) -> RunConfig:
    return RunConfig(stream=list(datasets), **changes)


def changed(base: RunConfig, section: str, **changes) -> RunConfig:
    return base.model_copy(update={section: getattr(base, section).model_copy(update=changes)})


def test_a_run_is_made_once_and_found_again(tmp_path):
    made = Run.create(tmp_path / "run", config(ONE))
    before = (tmp_path / "run" / "config.yaml").read_text()
    assert "made_by:" in before and "version:" in before and "utc_time:" in before
    again = Run.create(tmp_path / "run", config(ONE))
    assert again.config == made.config
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    assert Run.open(tmp_path / "run").config.model_copy(update={"made_by": None}) == made.config


def test_a_folder_that_is_no_run_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run folder: it has no config\.yaml; make one with `adaptinf init"):
        Run.open(tmp_path)
    Run.create(tmp_path / "adapt", config(ONE))
    with pytest.raises(ConfigError, match=r"is not a run folder: .*; runs inside it: \S+/adapt$"):
        Run.open(tmp_path)
    for number in range(6):
        Run.create(tmp_path / "comparison" / "adapt" / f"seed-{number}", config(ONE))
    with pytest.raises(ConfigError, match=r"runs inside it: \S+/adapt/seed-0, .*/seed-3 and 2 more$"):
        Run.open(tmp_path / "comparison")


def test_a_run_is_not_made_where_it_would_write_over_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("of a comparison")
    with pytest.raises(ConfigError, match=r"a run would write into its report\.html; choose another --out"):
        Run.create(tmp_path, config(ONE))
    (tmp_path / "report.html").unlink()
    Run.create(tmp_path, config(ONE))
    with pytest.raises(ConfigError, match="is a run folder, and its report would be overwritten"):
        Run.refuse_run(tmp_path)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("selection", {"budget": 7}, "selection.budget=25000, now it is 7"),
        ("training", {"tune": "full"}, "training.tune='lora', now it is 'full'"),
        ("model", {"max_length": 99}, "model.max_length=2048, now it is 99"),
        ("pruning", {"cap": "none"}, "pruning.cap='auto', now it is 'none'"),
    ],
)
def test_another_setting_on_an_existing_run_is_refused_by_its_name(tmp_path, section, change, message):
    Run.create(tmp_path, config(ONE))
    with pytest.raises(ConfigError) as caught:
        Run.create(tmp_path, changed(config(ONE), section, **change))
    assert f"{tmp_path} was made with {message}" in str(caught.value)
    assert "choose another --out" in str(caught.value)


def test_a_nested_setting_and_a_seed_are_named_as_one_writes_them(tmp_path):
    Run.create(tmp_path, config(ONE))
    deeper = config(ONE)
    deeper = changed(deeper, "model", lora=deeper.model.lora.model_copy(update={"rank": 3}))
    with pytest.raises(ConfigError, match=r"model\.lora\.rank=128, now it is 3"):
        Run.create(tmp_path, deeper)
    with pytest.raises(ConfigError, match="seed=0, now it is 5"):
        Run.create(tmp_path, config(ONE, seed=5))


def test_a_stream_may_grow_but_not_change_or_shrink(tmp_path):
    Run.create(tmp_path, config(ONE))
    grown = Run.create(tmp_path, config(ONE, TWO))
    assert [dataset.name for dataset in Run.open(tmp_path).config.stream] == ["one", "two"]
    assert grown.config.stream == [ONE, TWO]
    with pytest.raises(ConfigError, match="stream='2 entries', now it is '1 entries'"):
        Run.create(tmp_path, config(ONE))
    other = DatasetConfig(name="one", path="other.json")
    Run.create(tmp_path, config(other, TWO))  # files may move
    with pytest.raises(ConfigError, match=r"stream\.0\.name='one', now it is 'two'"):
        Run.create(tmp_path, config(TWO, ONE))


def test_tests_of_skills_may_be_added(tmp_path):
    Run.create(tmp_path, config(ONE))
    Run.create(tmp_path, config(ONE, evaluation=[SkillConfig(skill="s", path="s.json")]))
    assert [skill.skill for skill in Run.open(tmp_path).config.evaluation] == ["s"]


def test_steps_of_a_run_are_made_with_the_same_settings_however_its_config_is_edited(tmp_path):
    made = Run.create(tmp_path, config(ONE))
    made.pin_settings()
    edited = replace(made, config=changed(made.config, "selection", budget=7))
    edited.pin_settings()  # no step has begun
    (tmp_path / "steps" / "00").mkdir()
    edited.pin_settings()
    with pytest.raises(ConfigError) as caught:
        made.pin_settings()
    assert f"{tmp_path} was made with selection.budget=7, now it is 25000; put it back in" in str(caught.value)


def test_files_of_a_run_may_move_and_tests_may_be_added_between_steps(tmp_path):
    test = SkillConfig(skill="ocr", path="ocr.json")
    made = Run.create(tmp_path, config(ONE, evaluation=[test]))
    made.pin_settings()
    (tmp_path / "steps" / "00").mkdir()
    moved = config(
        ONE.model_copy(update={"path": "elsewhere/one.json", "images": "elsewhere"}),
        TWO,
        evaluation=[test.model_copy(update={"path": "elsewhere/ocr.json"}), SkillConfig(skill="new", path="new.json")],
    )
    replace(made, config=changed(moved, "model", path="elsewhere/base")).pin_settings()
    other_metric = [test.model_copy(update={"metric": "anls"})]
    with pytest.raises(ConfigError, match=r"evaluation\.0\.metric='exact', now it is 'anls'"):
        replace(made, config=config(ONE, TWO, evaluation=other_metric)).pin_settings()


def test_what_no_result_depends_on_may_change(tmp_path):
    (tmp_path / "mine.py").write_text("")
    Run.create(tmp_path, config(ONE))
    Run.create(tmp_path, config(ONE, plugins=[str(tmp_path / "mine.py")]))
    assert Run.open(tmp_path).config.plugins == [str(tmp_path / "mine.py")]


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("model", {"device": "cuda:1"}),
        ("extraction", {"batch_tokens": 512}),
        ("training", {"micro_batch_size": 2}),
        ("training", {"gradient_checkpointing": True}),
        ("training", {"report_to": ["tensorboard"]}),
        (None, {"executor": "other"}),
    ],
)
@pytest.mark.parametrize("by", ["run", "edit"])
def test_what_changes_rounding_only_may_change_and_is_noted_with_its_step(tmp_path, by, section, change):
    Run.create(tmp_path, config(ONE)).pin_settings()
    (tmp_path / "steps" / "00").mkdir()
    other = changed(config(ONE), section, **change) if section else config(ONE, **change)
    if by == "run":
        Run.create(tmp_path, other).pin_settings()
    else:
        edit_config(tmp_path, other)
        Run.open(tmp_path).pin_settings()
    ((name, value),) = change.items()
    place = f"{section}.{name}" if section else name
    (noted,) = [line for line in store.read_lines(tmp_path / "events.jsonl") if line["event"] == "setting"]
    assert (noted["setting"], noted["after"], noted["step"]) == (place, value, 0) and noted["before"] != value
    again = Run.open(tmp_path).pin_settings()
    found = getattr(again.settings, section) if section else again.settings
    assert getattr(found, name) == value
    assert len(store.read_lines(tmp_path / "events.jsonl")) == 1, "noted once"


def test_a_free_setting_hides_no_other_one(tmp_path):
    Run.create(tmp_path, config(ONE))
    other = changed(config(ONE), "training", micro_batch_size=2, epochs=3)
    with pytest.raises(ConfigError, match=r"training\.epochs=1, now it is 3"):
        Run.create(tmp_path, other)


@pytest.mark.parametrize("text", ["", "model: {path: base}\nstream: [{name: one, path: one.json}]\n"])
def test_a_configuration_that_lists_less_than_was_learnt_is_refused(tmp_path, text):
    made = Run.create(tmp_path, config(ONE, TWO))
    for step in (0, 1):
        made.stage_folder(step, SavedPruning).mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"under stream, but 2 steps of the run have begun; bring back a copy"):
        Run.open(tmp_path)


def test_the_state_says_that_the_base_model_is_being_tested(tmp_path, call):
    made = Run.create(tmp_path, config(ONE, evaluation=[SkillConfig(skill="s", path="s.json")]))
    assert not status_of(made).testing_base
    store.begin(made.stage_folder(BASE_STEP, Evaluation))
    assert status_of(made).testing_base
    code, out, _ = call("status", tmp_path)
    assert code == 0 and "testing the base model" in out


def test_the_files_of_a_run_are_read_once_until_they_change(tmp_path, monkeypatch):
    read, real = [], configuration.load
    monkeypatch.setattr(configuration, "load", lambda path, *rest: read.append(path) or real(path, *rest))
    Run.create(tmp_path, config(ONE)).pin_settings()
    (tmp_path / "steps" / "00").mkdir()
    for _ in range(3):
        with Run.locked(tmp_path) as opened:
            opened.pin_settings()
            assert opened.made_by() is not None
    assert read.count(tmp_path / "config.yaml") == 1
    edited = changed(config(ONE), "training", report_to=["tensorboard"])
    edit_config(tmp_path, edited)
    assert Run.open(tmp_path).config.training.report_to == ["tensorboard"]


def test_a_dataset_joins_the_stream_under_a_name_that_is_free(tmp_path):
    run = Run.create(tmp_path, config(ONE)).with_dataset(TWO)
    assert run.config.stream == [ONE, TWO]
    assert Run.open(tmp_path).config.stream == [ONE], "noted when the dataset has been read, not before"
    run.write_config()
    assert Run.open(tmp_path).config.stream == [ONE, TWO]
    with pytest.raises(ConfigError, match="has a dataset called 'two' already; give --name"):
        run.with_dataset(TWO)


def test_a_dataset_whose_numbers_a_kill_kept_from_the_log_gets_them_when_it_is_added_again(tmp_path, monkeypatch):
    (tmp_path / "one.json").write_text(json.dumps(rows(4, images=False)))
    run = Run.create(tmp_path / "run", config())
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log_metrics", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            join(run.with_dataset(ONE.model_copy(update={"path": str(tmp_path / "one.json")})), 0)
    assert run.pool_folder.joinpath("00-one").exists() and not run.metrics_file.exists()
    join(run.with_dataset(ONE), 0)
    (line,) = store.read_lines(run.metrics_file)
    assert line["stage"] == "pool" and line["rows"] == 4


def test_steps_are_finished_by_their_last_stage_which_one_before_them_may_have_lost(tmp_path):
    run = Run.create(tmp_path, config(ONE, TWO))
    assert run.num_finished == 0
    for kind in ARTIFACTS[:-1]:
        run.stage_folder(0, kind).mkdir(parents=True)
    assert run.num_finished == 0
    store.part_of(run.stage_folder(0, SavedPruning)).mkdir()
    assert run.num_finished == 0
    run.stage_folder(0, SavedPruning).mkdir()
    assert run.num_finished == 1
    run.stage_folder(1, SavedPruning).mkdir(parents=True)
    assert run.num_finished == 2
    run.stage_folder(0, SavedPruning).rmdir()
    assert run.num_finished == 2, "the step after it has begun, so it was finished"
    assert run.stage_folder(-1, Evaluation) == tmp_path / "base" / "evaluation"


def test_seeds_differ_by_stage_step_and_run(tmp_path):
    run = Run.create(tmp_path, config(ONE))
    other = Run(folder=tmp_path, config=config(ONE, seed=1))
    seeds = [own.seed(stage, step) for own in (run, other) for stage in STAGES for step in range(3)]
    assert len(set(seeds)) == len(seeds)
    assert run.seed("model", 1) == Run.open(tmp_path).seed("model", 1)


def test_the_log_has_the_beginning_and_the_cost_of_a_stage_and_the_last_line_wins(tmp_path):
    run = Run.create(tmp_path, config(ONE))
    with pytest.raises(RuntimeError), run.logged(0, "model", tmp_path / "part"):
        raise RuntimeError
    assert run.seconds() == {}
    with run.logged(0, "model", tmp_path / "part"):
        pass
    store.append_line(tmp_path / "events.jsonl", {"step": 0, "stage": "model", "event": "end", "seconds": 9.0})
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"step": 0, "sta')
    assert run.seconds() == {(0, "model"): 9.0}
    events = store.read_lines(tmp_path / "events.jsonl")
    assert [event["event"] for event in events] == ["begin", "begin", "end", "end"]
    assert events[2]["peak_bytes"] > 1_000_000 and all("time" in event for event in events)


def test_what_killed_attempts_worked_counts_up_to_the_last_file_that_they_left(tmp_path):
    run = Run.create(tmp_path / "run", config(ONE))
    log, part = tmp_path / "run" / "events.jsonl", tmp_path / "part"
    part.mkdir()

    def began(at: int, earlier: float) -> None:
        time = datetime.fromtimestamp(at, UTC).isoformat()
        line = {"time": time, "step": 0, "stage": "features", "event": "begin", "earlier_seconds": earlier}
        log.write_text(json.dumps(line) + "\n")

    def left(at: int) -> None:
        (part / "shard").touch()
        os.utime(part / "shard", (at, at))

    began(1_000_000, 0.0)
    left(1_000_060)
    with pytest.raises(RuntimeError), run.logged(0, "features", part):
        raise RuntimeError  # killed again, before it left anything
    assert store.read_lines(log)[-1]["earlier_seconds"] == 60.0
    began(1_000_200, 60.0)
    left(1_000_230)
    with run.logged(0, "features", part):
        pass
    assert run.seconds()[0, "features"] == pytest.approx(90.0, abs=1.0)
    with run.logged(0, "features", part):
        pass  # made again after it was finished: a new stage
    assert run.seconds()[0, "features"] < 1.0


def test_the_written_configuration_has_help_and_is_read_back(tmp_path):
    run = Run.create(tmp_path, config(ONE))
    written = (tmp_path / "config.yaml").read_text()
    assert "# Samples to train on in one step." in written
    assert configuration.load(tmp_path / "config.yaml").model_copy(update={"made_by": None}) == run.config


def test_what_was_set_up_by_one_commit_and_made_by_another_names_the_one_that_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "git_sha", lambda: "set-up")
    run = Run.create(tmp_path, config(ONE))
    assert run.made_by().git_sha == "set-up"
    monkeypatch.setattr(runs, "git_sha", lambda: "made")
    run.pin_settings()
    assert run.made_by().git_sha == Run.open(tmp_path).made_by().git_sha == "made"
    assert Run.open(tmp_path).config.made_by.git_sha == "set-up"
