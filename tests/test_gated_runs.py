"""Whole runs under a gate: each action in a run of two or three steps, and what every command says of it afterwards."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from adaptinf import api, cli, report
from adaptinf.data import Evaluation, Trained
from adaptinf.errors import ConfigError, GateStopped, StoreError
from adaptinf.runs import BASE_STEP, Run, events
from adaptinf.runs.learners import learner_after, learner_before
from adaptinf.storage import store
from tests.helpers.gated_streams import items, replan, write_gated_stream

GOOD, BAD = items(30), items(12)
ROLLBACK = {"max_drop": 3.0, "action": "rollback"}


def finished(folder: Path, plan, **settings) -> Run:
    stream = write_gated_stream(folder, plan, **settings)
    return api.run(stream, out=folder / "run").run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def command(*words: object, monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["adaptinf", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def rolled(tmp_path_factory) -> Run:
    """Return a run of three steps of which the second was rolled back; one skill has items and one has not."""
    folder = tmp_path_factory.mktemp("rolled")
    plan = {"ocr": [GOOD, GOOD, BAD, GOOD], "vqa": [0.5, 0.6, 0.7, 0.62]}
    stream = write_gated_stream(folder, plan, gate=ROLLBACK, num_steps=3)
    result = api.run(stream, out=folder / "run")
    assert result.rolled_back == (1,)
    assert api.run(stream, out=folder / "run").rolled_back == (), "a rollback is reported once"
    return result.run


def test_the_model_after_a_rollback_is_byte_for_byte_that_before_and_the_next_step_goes_on_from_it(rolled):
    folders = [rolled.stage_folder(step, Trained) for step in range(3)]
    assert files(folders[0]) == files(folders[1])
    assert files(rolled.rejected_model_folder(1)) != files(folders[0])
    assert learner_before(rolled, 2).continued == folders[0]
    assert learner_after(rolled, 1).merged == (folders[0],)


def test_the_row_of_a_rollback_stays_in_the_matrix_and_counts_nowhere(rolled):
    newest = rolled.newest(Evaluation)
    assert newest.rejected_rows == (2,) and newest.matrix[2, 0] == pytest.approx(0.3)
    (row,) = api.run(rolled.config_file).summary.rows
    assert row.macro == pytest.approx((0.75 + 0.62) / 2)
    # The best of vqa so far is 0.62, not the 0.7 of the model that is gone.
    assert row.max_forgetting == pytest.approx((0.0 - 0.02) / 2)
    assert row.samples_trained == 8


def test_status_report_explain_and_verify_say_what_was_rolled_back(rolled, tmp_path):
    status = api.status(rolled.folder)
    assert [step.gate for step in status.steps] == ["passed", "rolled back", "passed"]
    assert status.steps[1].gate_findings[0].startswith("drop of more than 3 points: ocr: 75.0 (the base model) to 30.0")
    assert "size alone" in status.steps[0].gate_findings[0]
    assert json.loads(json.dumps(status.as_json()))["steps"][1]["gate"] == "rolled back"
    page = api.report(rolled.folder, out=tmp_path / "page.html").path.read_text()
    assert "d1 (rejected)" in page and "the gate rolled the step back" in page
    chosen = rolled.load(1, kind_of("selection")).ids[0]
    (step,) = [step for step in api.explain(rolled.folder, str(chosen)).steps if step.step == 1]
    assert (step.considered.chosen, step.trained) == (True, False) and "rolled the step back" in step.untrained
    assert api.verify(rolled.folder).is_whole


def kind_of(stage: str):
    from adaptinf.data import ARTIFACTS

    return next(kind for kind in ARTIFACTS if kind.stage == stage)


def test_the_exported_model_is_the_newest_that_was_not_rolled_back_and_its_card_says_so(rolled, tmp_path):
    found = api.export_model(rolled.folder, out=tmp_path / "newest", check=False)
    card = (tmp_path / "newest" / "README.md").read_text()
    assert found.step == 2 and "what step 1 trained is not in it" in card
    with pytest.raises(ConfigError, match="rolled step 1 back; the model is still that of step 0"):
        api.export_model(rolled.folder, out=tmp_path / "other", step=1)


def test_what_a_rolled_back_step_has_lost_is_made_again_without_training(rolled, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(rolled.folder, folder)
    run = Run.open(folder)
    before = files(run.stage_folder(1, Trained)), json.loads(gate_file(run, 1).read_text())
    shutil.rmtree(run.stage_folder(1, Trained))
    shutil.rmtree(run.stage_folder(1, Evaluation))
    api.run(run.config_file)
    assert (files(run.stage_folder(1, Trained)), json.loads(gate_file(run, 1).read_text())) == before
    assert run.load(1, Evaluation).rejected_rows == (2,)


def test_a_rollback_is_told_by_the_next_command_when_the_report_could_not_be_written(rolled, tmp_path, monkeypatch):
    run = Run.open(Path(shutil.copytree(rolled.folder, tmp_path / "run")))
    store.append_line(run.events_file, {"event": events.ROLLBACK, "step": 1})

    def damaged(*_: object) -> None:
        raise StoreError("info.json is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_report", damaged)
        with pytest.raises(StoreError, match="only the report is not written"):
            api.run(run.config_file)
    assert [api.run(run.config_file).rolled_back for _ in range(2)] == [(1,), ()]
    assert run.report_file.stat().st_mtime_ns >= run.events_file.stat().st_mtime_ns, "it is not written anew"


def gate_file(run: Run, step: int) -> Path:
    return run.stage_folder(step, Evaluation) / Evaluation.GATE


@pytest.mark.slow
@pytest.mark.parametrize(
    "training",
    [{"tune": "full"}, {"tune": "lora", "adapter": "merge"}, {"tune": "lora", "adapter": "continue"}],
    ids=["full", "merge", "continue"],
)
@pytest.mark.parametrize("dropped", [0, 1])
def test_a_run_goes_on_as_if_the_step_that_was_rolled_back_had_trained_nothing(
    tmp_path, monkeypatch, training, dropped
):
    training = {**training, "learning_rate": 1.0e-3 if training["tune"] == "full" else 1.0e-2}
    plan = {"ocr": [GOOD, *(BAD if step == dropped else GOOD for step in range(3))]}
    run = finished(tmp_path / "gated", plan, gate=ROLLBACK, num_steps=3, training=training)

    from adaptinf import pipeline
    from adaptinf.training import save_weights

    learn = pipeline.learn

    def learn_but_one(run, step, pool, selection, *others):
        if step != dropped:
            return learn(run, step, pool, selection, *others)
        save_weights(learner_before(run, step).make(), others[-1])
        return Trained(info={"samples": 0, "optimizer_steps": 0})

    monkeypatch.setattr(pipeline, "learn", learn_but_one)
    other = finished(tmp_path / "untrained", plan, gate=None, num_steps=3, training=training)
    names = [name for name in files(run.stage_folder(2, Trained)) if name.endswith(".safetensors")]
    assert names
    for step in (step for step in range(3) if step > dropped):
        for name in names:
            mine, theirs = (one.stage_folder(step, Trained) / name for one in (run, other))
            assert mine.read_bytes() == theirs.read_bytes(), (step, name)
    assert learner_after(run, 2).make().fingerprint == learner_after(other, 2).make().fingerprint


@pytest.mark.slow
def test_a_stopped_run_refuses_until_it_is_accepted_or_the_step_is_taken_again(tmp_path, monkeypatch, capsys):
    plan = {"ocr": [GOOD, BAD, BAD]}
    stream = write_gated_stream(tmp_path, plan, gate={"action": "stop"})
    words = ("run", stream, "--out", tmp_path / "run", "--quiet")
    assert command(*words, monkeypatch=monkeypatch) == 3
    said = capsys.readouterr().err
    assert said.startswith("adaptinf: ") and "adaptinf accept" in said and len(said.splitlines()) == 1
    run = Run.open(tmp_path / "run")
    assert run.num_finished == 0 and run.has(0, Evaluation)
    log = run.events_file.read_bytes()
    assert command(*words, monkeypatch=monkeypatch) == 3
    assert command("step", run.folder, "--quiet", monkeypatch=monkeypatch) == 3
    assert run.events_file.read_bytes() == log, "nothing is measured before the refusal"
    assert api.status(run.folder).state == "held"
    capsys.readouterr()
    assert command("status", run.folder, monkeypatch=monkeypatch) == 0
    assert "held: the gate stopped the run after step 0" in capsys.readouterr().out
    page = run.report_file.read_text()
    assert "d0 (stopped)" in page

    shutil.rmtree(run.step_folder(0))
    replan(tmp_path, {"ocr": [GOOD, items(29), BAD]})
    assert command(*words, monkeypatch=monkeypatch) == 3
    assert (run.num_finished, run.load(0, Evaluation).gate.is_passed) == (1, True)

    accepted = api.accept(run.folder, "gate")
    assert accepted.text.startswith("accepted: step 1, which the gate had stopped (ocr: ")
    assert api.accept(run.folder, "gate").text == "nothing to accept: step 1 was accepted before"
    assert command(*words, monkeypatch=monkeypatch) == 0
    assert [step.gate for step in api.status(run.folder).steps] == ["passed", "accepted"]
    assert api.status(run.folder).accepted[0].startswith("step 1, which the gate had stopped")
    with pytest.raises(ConfigError, match="has no gate that stopped it"):
        api.accept(run.folder, "gate")


@pytest.mark.slow
def test_an_accepted_step_that_is_taken_again_is_judged_again(tmp_path):
    stream = write_gated_stream(tmp_path, {"ocr": [GOOD, BAD, BAD]}, gate={"action": "stop"})
    with pytest.raises(GateStopped):
        api.run(stream, out=tmp_path / "run")
    api.accept(tmp_path / "run", "gate")
    shutil.rmtree(Run.open(tmp_path / "run").step_folder(0))
    replan(tmp_path, {"ocr": [GOOD, items(11), BAD]})
    with pytest.raises(GateStopped, match="after step 0"):
        api.run(stream, out=tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_is_warned_goes_on_from_the_model_and_counts_its_row(tmp_path):
    run = finished(tmp_path, {"ocr": [GOOD, BAD, items(13)]}, gate={"action": "warn"})
    assert [step.gate for step in api.status(run.folder).steps] == ["warned", "warned"]
    assert run.newest(Evaluation).rejected_rows == ()
    result = api.run(run.config_file)
    assert result.summary.rows[0].macro == pytest.approx(13 / 40)
    assert len([line for line in result.summary.notes if "the gate warned" in line]) == 2
    assert learner_before(run, 1).continued == run.stage_folder(0, Trained)


@pytest.mark.slow
def test_a_drop_that_is_not_decided_passes_and_is_listed_with_the_items_that_would_decide(tmp_path):
    run = finished(tmp_path, {"ocr": [items(6, 8), items(5, 8)]}, gate={"action": "stop"}, num_steps=1)
    (step,) = api.status(run.folder).steps
    assert step.gate == "passed"
    assert "not decided: 8 items, about 35 would decide it" in step.gate_findings[0]


@pytest.mark.slow
def test_a_step_whose_tests_were_corrected_gets_its_model_back(tmp_path):
    run = finished(tmp_path, {"ocr": [GOOD, GOOD, BAD]}, gate=ROLLBACK)
    trained = files(run.rejected_model_folder(1))
    for stage in ("evaluation", "pruning"):
        shutil.rmtree(run.step_folder(1) / stage)
    replan(tmp_path, {"ocr": [GOOD, GOOD, items(29)]})
    api.run(run.config_file)
    assert files(run.stage_folder(1, Trained)) == trained
    assert not run.rejected_model_folder(1).exists()
    assert [step.gate for step in api.status(run.folder).steps] == ["passed", "passed"]


@pytest.mark.slow
def test_a_skill_without_a_base_row_is_refused_before_anything_is_measured(tmp_path):
    stream = write_gated_stream(tmp_path, {"ocr": [GOOD] * 3, "vqa": [GOOD, GOOD, BAD]}, gate=ROLLBACK)
    text = yaml.safe_load(stream.read_text())
    both, text["evaluation"] = text["evaluation"], text["evaluation"][:1]
    stream.write_text(json.dumps({**text, "stream": text["stream"][:1]}))
    run = api.run(stream, out=tmp_path / "run").run
    stream.write_text(json.dumps({**text, "evaluation": both}))
    log = run.events_file.read_bytes()
    with pytest.raises(ConfigError, match=r"not tested on 'vqa', which came later, .* delete .*base/evaluation"):
        api.run(stream, out=tmp_path / "run")
    assert run.events_file.read_bytes() == log
    shutil.rmtree(run.stage_folder(BASE_STEP, Evaluation))
    assert api.run(stream, out=tmp_path / "run").rolled_back == (1,)
    found = Run.open(run.folder).load(1, Evaluation).gate
    assert [(skill.skill, skill.verdict, skill.best_step) for skill in found.skills] == [
        ("ocr", "kept", -1),
        ("vqa", "dropped", -1),
    ]


@pytest.mark.slow
def test_a_comparison_records_the_gate_and_goes_on_with_every_row(tmp_path, capsys):
    plan = {"ocr": [GOOD, BAD, GOOD]}
    stream = write_gated_stream(tmp_path, plan, gate={"action": "stop"})
    rows = tmp_path / "rows.yaml"
    rows.write_text("back: {method: random_replay, evaluation_gate.action: rollback}\n")
    found = api.compare(stream, methods=("random_replay", "multitask"), variants=rows, out=tmp_path / "cmp", workers=1)
    by_name = {record.name: record for record in found.records}
    assert {name: tuple(record.rejected) for name, record in by_name.items()} == {
        "random_replay": (),
        "multitask": (),
        "back": (1,),
    }
    assert "the gate warned" in by_name["random_replay"].gates[0]
    assert "rolled the step back" in by_name["back"].gates[0]
    assert by_name["multitask"].gates == ()
    assert "the gate rolled the step back" in (tmp_path / "cmp" / "table.md").read_text()


def test_the_given_adapter_is_what_a_run_goes_on_from_when_its_first_step_was_rolled_back(rolled):
    """By the recipes alone: the same start as that of the first step."""
    run = replace(rolled)
    folder = run.rejected_model_folder(0)
    try:
        hidden = run.stage_folder(0, Evaluation).rename(run.step_folder(0) / "hidden.part")
        folder.mkdir()
        assert learner_before(run, 1) == learner_before(run, 0)
        assert learner_after(run, 0) == learner_after(run, -1)
    finally:
        store.discard(folder)
        hidden.rename(run.stage_folder(0, Evaluation))
