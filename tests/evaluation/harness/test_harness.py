"""A harness is run once per step, its result is read, and what cannot be used of it is refused."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from adaptinf.config import RunConfig, SkillConfig, TrainingConfig, load, parse, to_yaml
from adaptinf.data import Evaluation
from adaptinf.doctor.skill_tests import check_tests
from adaptinf.errors import ConfigError, DataError
from adaptinf.evaluation.harness.changes import changed_harness
from adaptinf.evaluation.harness.installed import installed_version
from adaptinf.evaluation.harness.joining import joined
from adaptinf.evaluation.harness.running import StepModel, place_of, run_harnesses, tidy
from adaptinf.evaluation.harness.tests import harness_problems, read_harnesses
from adaptinf.progress import Silent
from tests.helpers.fake_harness import FakeHarness


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def note(self, message):
        self.lines.append(message)


def write_merged(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")


def accept_all(test, result):
    pass


def run(tmp_path, entries, *, check=accept_all, model="/base", adapter="/adapter", key="weights", progress=None):
    tests = read_harnesses([SkillConfig(**entry) for entry in entries])
    values = {"step": "3", "seed": "7"}
    tested = StepModel(model=model, adapter=adapter, write_merged=write_merged, key=key, values=values)
    part = tmp_path / "evaluation.part"
    part.mkdir(exist_ok=True)
    return run_harnesses(tests, tested, part=part, folder=tmp_path, check=check, progress=progress or Silent())


def refusal(tmp_path, harness, **others) -> str:
    with pytest.raises((ConfigError, DataError)) as error:
        run(tmp_path, [harness.entry(**others)])
    return str(error.value)


def test_a_result_of_lmms_eval_becomes_a_score_with_items(tmp_path):
    harness = FakeHarness(tmp_path / "harness", items=4)
    (result,) = run(tmp_path, [harness.entry()]).values()
    assert (result.score, result.standard_error, result.num_items) == (0.5, 0.25, 4)
    assert result.metric == "lmms_eval tiny/acc,none"
    assert re.fullmatch(r"lmms-eval 0\.7\.3, tiny 0\.0 \(settings [0-9a-f]{8}\)", result.version)
    assert [item.prompt for item in result.items] == [f"Question {number}?" for number in range(4)]
    assert [item.score for item in result.items] == [1, 0, 1, 0]
    assert [item.prediction for item in result.items] == ["0", "no", "2", "no"]


def test_placeholders_stand_for_the_model_of_the_step(tmp_path):
    harness = FakeHarness(tmp_path / "harness")
    run(tmp_path, [harness.entry("one"), harness.entry("two/of us", "model={model} adapter={adapter} merged={merged}")])
    first, second = harness.calls
    assert first["merged"] == second["merged"] and first["merged_files"] == ["config.json"]
    assert (second["model"], second["adapter"], second["step"]) == ("/base", "/adapter", "3")
    assert first["empty"] and second["empty"] and first["cwd"] == str(tmp_path.resolve())
    assert not (tmp_path / "evaluation.part/merged").exists()
    assert place_of(tmp_path, "two/of us").name.startswith("two_of_us-")


def test_the_merged_model_is_made_only_where_a_command_asks_for_it(tmp_path):
    harness = FakeHarness(tmp_path / "harness")
    made = []
    tests = read_harnesses([SkillConfig(**harness.entry(model="model={model} adapter={adapter}"))])
    for model, count in (("/base", 0), (None, 1)):
        (tmp_path / "part").mkdir(exist_ok=True)
        values = {"step": "0"}
        tested = StepModel(model=model, adapter="", write_merged=made.append, key=str(model), values=values)
        run_harnesses(tests, tested, part=tmp_path / "part", folder=tmp_path, check=accept_all, progress=Silent())
        assert len(made) == count
    assert harness.calls[1]["model"] == str(made[0])


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"mode": "fails"}, "ended with exit code 1"),
        ({"mode": "silent"}, "has no results of lmms-eval"),
        ({"mode": "broken"}, "is no JSON"),
        ({"mode": "two metrics"}, "2 metrics could be meant; name one, reads: lmms_eval:TASK/METRIC: tiny/acc,none"),
        ({"score": math.nan}, "is nan, which is no finite number"),
        ({"score": math.inf}, "is inf, which is no finite number"),
        ({"score": "0.5"}, "is '0.5', which is no finite number"),
        ({"score": True}, "is True, which is no finite number"),
        ({"score": 10**400}, "no finite number"),
        ({"score": 63.5}, "is 63.5, outside of 0 to 1; set scale:"),
        ({"score": -0.5}, "is -0.5, outside of 0 to 1; name a score that is never negative"),
        ({"better": False}, "is better when it is lower"),
        ({"items": 0, "score": 0.5, "logs": False}, "is 0, which is no number of items"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, behaviour, message):
    text = refusal(tmp_path, FakeHarness(tmp_path / "harness", **behaviour))
    assert message in text
    assert text.startswith("evaluation of pope")
    assert "testing None" in text, "the end of the log is shown"


def test_a_harness_that_hangs_is_ended_after_its_timeout(tmp_path):
    mark = f"mark-{os.getpid()}-harness"
    harness = FakeHarness(tmp_path / "harness", mode="hangs", mark=mark)
    assert "was ended after its timeout of 2.0 s" in refusal(tmp_path, harness, timeout="2s")
    for folder in Path("/proc").glob("[0-9]*"):
        if (folder / "cmdline").exists():
            assert mark.encode() not in (folder / "cmdline").read_bytes()


def test_a_metric_can_be_named(tmp_path):
    harness = FakeHarness(tmp_path / "harness", mode="two metrics")
    for name in ("tiny/f1", "tiny/f1,none"):
        (result,) = run(tmp_path, [harness.entry(reads=f"lmms_eval:{name}")]).values()
        assert (result.metric, result.score) == ("lmms_eval tiny/f1,none", 0.5)
        # The items are logged with their score by another metric.
        assert [math.isnan(item.score) for item in result.items] == [True] * 4
    assert "has no 'tiny/f2'; it has tiny/acc,none, tiny/f1,none" in refusal(
        tmp_path, harness, reads="lmms_eval:tiny/f2"
    )


def test_scores_on_another_scale_need_it_in_the_entry(tmp_path):
    harness = FakeHarness(tmp_path / "harness", score=1500.0)
    (result,) = run(tmp_path, [harness.entry(scale=2000)]).values()
    assert (result.score, result.standard_error) == (0.75, 0.25 / 2000)
    assert result.metric == "lmms_eval tiny/acc,none of 2000"
    # The score is no mean of the items' scores, which are therefore not its scores.
    assert all(math.isnan(item.score) for item in result.items)


def test_the_version_is_that_of_the_environment_of_the_program(tmp_path):
    program = tmp_path / "venv/bin/lmms-eval"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "venv/lib/python3.11/site-packages/lmms_eval-0.7.9.dist-info").mkdir(parents=True)
    (tmp_path / "link").symlink_to(program)
    (tmp_path / "script").write_text(f"#!{program.parent / 'python'}\n")
    (tmp_path / "script").chmod(0o755)
    for name in (str(program), "./venv/bin/lmms-eval", "./link", "./script"):
        assert installed_version(name, tmp_path) == "0.7.9"
    assert installed_version("sh", tmp_path) == installed_version("no-such-program", tmp_path) == ""
    # What lmms-eval writes is the commit of the folder in which it runs.
    harness = FakeHarness(tmp_path / "harness", version="main@0123abcd")
    (result,) = run(tmp_path, [harness.entry()]).values()
    assert result.version.startswith("tiny 0.0 (settings ")


def test_a_share_of_the_items_is_counted(tmp_path):
    harness = FakeHarness(tmp_path / "harness", items=3, effective=0.5, original=5)
    (result,) = run(tmp_path, [harness.entry()]).values()
    assert result.num_items == 3


def test_samples_are_used_only_where_all_items_have_one(tmp_path):
    harness = FakeHarness(tmp_path / "harness", logs=False)
    progress = Notes()
    (result,) = run(tmp_path, [harness.entry()], progress=progress).values()
    assert result.items == () and progress.lines == []


def test_what_has_ended_well_is_not_run_again(tmp_path):
    harness = FakeHarness(tmp_path / "harness", score=63.5)
    refusal(tmp_path, harness)
    (result,) = run(tmp_path, [harness.entry(scale=100)]).values()
    assert (result.score, len(harness.calls)) == (0.635, 1)
    harness.behave(mode="fails")
    run(tmp_path, [harness.entry(scale=100)])
    assert len(harness.calls) == 1
    # Another model, or another command, is another question.
    harness.behave()
    run(tmp_path, [harness.entry()], key="other weights")
    assert len(harness.calls) == 2


def test_what_can_still_not_be_used_is_run_again(tmp_path):
    harness = FakeHarness(tmp_path / "harness", mode="broken")
    refusal(tmp_path, harness)
    harness.behave()
    progress = Notes()
    (result,) = run(tmp_path, [harness.entry()], progress=progress).values()
    assert (result.score, len(harness.calls)) == (0.5, 2)
    assert "the command runs again" in progress.lines[0]


def test_a_failure_of_the_second_keeps_the_first(tmp_path):
    one, two = FakeHarness(tmp_path / "one"), FakeHarness(tmp_path / "two", mode="fails")
    with pytest.raises(ConfigError, match="no such task"):
        run(tmp_path, [one.entry("one"), two.entry("two")])
    two.behave()
    assert set(run(tmp_path, [one.entry("one"), two.entry("two")])) == {"one", "two"}
    assert (len(one.calls), len(two.calls)) == (1, 2)
    assert not (tmp_path / "evaluation.part/merged").exists()


def read_json(tmp_path, files, **entry):
    from adaptinf.evaluation.harness.running import read_result

    output = tmp_path / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    for name, text in files.items():
        (output / name).write_text(text)
    (test,) = read_harnesses([SkillConfig(skill="own", command="x {output} {merged}", **entry)])
    return read_result(test, output)


@pytest.mark.parametrize("strange", [[1], 4, "4", None])
@pytest.mark.parametrize("key", ["n-samples", "versions", "configs", "higher_is_better"])
def test_parts_of_another_shape_are_unknown(tmp_path, key, strange):
    results = {"results": {"t": {"acc,none": 0.5, "acc_stderr,none": -1.0}}}
    for value in (strange, {"t": strange} if key != "n-samples" else {"t": {"original": 4}}):
        result = read_json(tmp_path, {"1_results.json": json.dumps({**results, key: value})}, reads="lmms_eval")
        assert (result.score, result.num_items, math.isnan(result.standard_error)) == (0.5, 0, True)


def test_two_files_with_one_metric_are_named(tmp_path):
    text = json.dumps({"results": {"t": {"acc,none": 0.5}}})
    with pytest.raises(DataError, match=r"2 files in .* have t/acc,none: 1_results.json, 2_results.json; let it"):
        read_json(tmp_path, {"1_results.json": text, "2_results.json": text}, reads="lmms_eval")


def test_a_key_of_any_json_file_is_a_score(tmp_path):
    content = json.dumps({"a": {"b": [{"c": 81.0}], "n": 20}, "x.y": 0.5, "version": "1.2"})
    files = {"out.json": content, "other.json": json.dumps({"b": 1})}
    result = read_json(tmp_path, files, reads="json:a.b.0.c", scale=100, count="a.n")
    assert (result.score, result.num_items, result.version) == (0.81, 20, "1.2")
    assert result.metric == "json a.b.0.c of 100" and math.isnan(result.standard_error)
    assert read_json(tmp_path, files, reads="json:x.y").num_items == 0


@pytest.mark.parametrize(
    ("files", "entry", "message"),
    [
        ({}, {}, "has no .json file"),
        ({"a.json": '{"b": {"c": 1}}'}, {}, "has the key 'acc'; keys: a.json: b.c"),
        ({"a.json": '{"acc": 1}', "b.json": '{"acc": 0}'}, {}, "2 files in .* have the key 'acc': a.json, b.json"),
        ({"a.json": '{"acc": NaN}'}, {}, "no finite number"),
        ({"a.json": '{"acc": {"x": 1}}'}, {}, "no finite number"),
        ({"a.json": '{"acc": 1'}, {}, "is no JSON"),
        ({"a.json": "[" * 10**5}, {}, "is no JSON"),
        ({"a.json": '{"acc": 1}'}, {"count": "n"}, "has no key 'n'"),
        ({"a.json": '{"acc": 1, "n": 1.5}'}, {"count": "n"}, "is 1.5, which is no number of items"),
        ({"a.json": '{"acc": 1, "n": 1e300}'}, {"count": "n"}, "is 1e.300, which is no number of items"),
    ],
)
def test_json_that_cannot_be_used_is_refused(tmp_path, files, entry, message):
    with pytest.raises(DataError, match=message):
        read_json(tmp_path, files, reads="json:acc", **entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "evaluation.0: needs path"),
        ({"command": "x {output}"}, "command needs reads"),
        (
            {"path": "x.json", "command": "x", "reads": "lmms_eval"},
            "path: for a skill with items, but command is given",
        ),
        ({"command": "x", "reads": "lmms_eval", "metric": "f1"}, "metric: for a skill with items"),
        ({"path": "x.json", "timeout": "3h", "scale": 2}, "scale, timeout: for a skill that a command tests"),
        ({"command": "x", "reads": "lmms_eval", "timeout": "3"}, "must be a duration with its unit"),
        ({"command": "x", "reads": "lmms_eval", "scale": 0}, "greater than 0"),
        ({"comand": "x"}, "did you mean 'command'"),
    ],
)
def test_an_entry_is_of_one_kind(entry, message):
    with pytest.raises(ConfigError) as error:
        parse({"evaluation": [{"skill": "s", **entry}]}, where="stream.yaml")
    assert message in str(error.value)


def problems(tmp_path, command, reads="lmms_eval", training=None, **entry):
    skill = SkillConfig(skill="pope", command=command, reads=reads, **entry)
    training = training or TrainingConfig()
    return harness_problems(RunConfig(evaluation=[skill], training=training, commands_folder=str(tmp_path)))


def test_commands_are_checked_before_a_run(tmp_path):
    assert problems(tmp_path, "sh {output} {merged}") == []
    assert problems(tmp_path, "sh {output} {model} {adapter}") == []
    full = TrainingConfig(tune="full")
    assert problems(tmp_path, "sh {output} {model}", training=full) == []
    for command, message in (
        ("sh {outptu} {merged}", "{outptu} is no placeholder"),
        ("sh {merged}", "has no {output}"),
        ("sh {output}", "names no model"),
        ("sh {output} {model}", "each step would test the base model"),
        ("no-such-harness {output} {merged}", "is not on the PATH"),
        ("a | b {output} {merged}", "bash -c"),
    ):
        (line,) = problems(tmp_path, command)
        assert message in line and line.startswith("evaluation of pope: command")
    for reads in ("lmms-eval", "json", "json:", "lmms_eval:", "csv:x"):
        (line,) = problems(tmp_path, "sh {output} {merged}", reads=reads)
        assert "is not known; write lmms_eval" in line
    (line,) = problems(tmp_path, "sh {output} {merged}", count="n")
    assert "count='n' is for reads: json:KEY" in line


def test_doctor_says_which_program_tests_a_skill(tmp_path):
    for command, is_good, text in (
        ("sh {output} {merged}", True, "by sh"),
        ("no-such-harness {output} {merged}", False, "is not on the PATH"),
    ):
        skill = SkillConfig(skill="pope", command=command, reads="lmms_eval")
        (check,) = check_tests(RunConfig(evaluation=[skill], commands_folder=str(tmp_path)))
        assert text in str(check) and check.is_good == is_good


def test_an_entry_is_written_and_read_back_with_its_own_keys(tmp_path):
    entry = {"skill": "pope", "command": "sh {output} {merged}", "reads": "lmms_eval", "timeout": "3h"}
    config = parse({"evaluation": [entry]}, where="x")
    text = to_yaml(config)
    written = text.partition("evaluation:")[2].partition("#")[0]
    assert "metric" not in written and "path" not in written
    (tmp_path / "config.yaml").write_text(text)
    again = load(tmp_path / "config.yaml")
    assert again.evaluation == config.evaluation
    assert again.commands_folder == str(tmp_path.resolve())


def evaluation(tmp_path, harness, previous=None, step=-1, **entry) -> Evaluation:
    (test,) = read_harnesses([SkillConfig(**harness.entry(**entry))])
    shutil.rmtree(tmp_path / "evaluation.part", ignore_errors=True)
    results = run(tmp_path, [harness.entry(**entry)])
    part = tmp_path / "evaluation.part"
    found = joined(
        None,
        [test],
        results,
        order=["pope"],
        step=step,
        introduced_at=np.zeros(1, np.int64),
        frequency=np.full(1, np.nan),
        previous=previous,
        part=part,
    )
    tidy(test, results["pope"], part)
    return found


def test_results_become_rows_of_the_matrix(tmp_path):
    harness = FakeHarness(tmp_path / "harness", items=4)
    base = evaluation(tmp_path, harness)
    harness.behave(items=4, score=0.25)
    after = evaluation(tmp_path, harness, base, step=0)
    assert after.matrix.tolist() == [[0.5], [0.25]]
    assert after.standard_errors.tolist() == [[0.25], [0.25]]
    assert np.isnan(after.tolerant).all() and after.num_items.tolist() == [4]
    assert after.metrics == ("lmms_eval tiny/acc,none",)
    assert after.breaks == {} and len(after.digests("pope")) == 2
    assert after.predictions["id"].tolist() == [f"pope/{number}" for number in range(4)]
    part = tmp_path / "evaluation.part"
    kept = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
    record = after.info["harness"]["pope"]
    assert sorted([record["log"], *record["files"], "harness/pope/done.json"]) == kept
    after.save(tmp_path)
    assert Evaluation.load(tmp_path).info == after.info


@pytest.mark.parametrize(
    ("behaviour", "entry", "phrase"),
    [
        ({"items": 5, "score": 0.5}, {}, "it counted 4 items, now 5"),
        ({"version": "0.8.0"}, {}, "the version was lmms-eval 0.7.3, tiny 0.0 "),
        ({"until": "."}, {}, "the version was lmms-eval 0.7.3, tiny 0.0 "),
        ({"task": "huge"}, {}, "the metric was lmms_eval tiny/acc,none, now lmms_eval huge/acc,none"),
        ({"logs": False}, {}, "its logged items differ"),
        ({}, {"scale": 2}, "scale was 1, now 2"),
        ({}, {"model": "merged={merged} more"}, "it was "),
    ],
)
def test_a_harness_that_asks_something_else_is_a_change(tmp_path, behaviour, entry, phrase):
    harness = FakeHarness(tmp_path / "harness", items=4)
    base = evaluation(tmp_path, harness)
    harness.behave(**{"items": 4, **behaviour})
    (test,) = read_harnesses([SkillConfig(**harness.entry(**entry))])
    shutil.rmtree(tmp_path / "evaluation.part")
    if "more" in str(entry):
        result = None
    else:
        (result,) = run(tmp_path, [harness.entry(**entry)]).values()
    change = changed_harness(test, base, result)
    assert change is not None and phrase in change.first
    assert changed_harness(test, None, result) is None


def test_the_same_harness_in_other_words_is_no_change(tmp_path):
    harness = FakeHarness(tmp_path / "harness")
    base = evaluation(tmp_path, harness)
    entry = {**harness.entry(), "timeout": "5h"}
    entry["command"] = "\n  " + entry["command"].replace(" ", "   ", 1)
    (test,) = read_harnesses([SkillConfig(**entry)])
    (result,) = run(tmp_path, [entry]).values()
    assert changed_harness(test, base) is None and changed_harness(test, base, result) is None
