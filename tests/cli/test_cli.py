"""The command line: exit codes, messages without a traceback, and the same results by `run` as by `add` and `step`."""

from __future__ import annotations

import errno
import json
import re

import pytest
import yaml

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.pipeline import learning
from adaptinf.storage import lock, tables
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import row, rows, write_dataset, write_stream, write_test

QUICK = {"selection": {"method": "random_replay"}, "pruning": {"cap": 5}}
"""No extraction: what is tested here is the command line."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), "one", rows(8))


def chosen(folder, step):
    return tables.read_table(folder / "steps" / step / "selection" / "selection.parquet")["id"].tolist()


def test_version_and_help_are_successes(call):
    assert call("--version") == (0, "0.1.0\n", "")
    code, out, _ = call("--help")
    assert code == 0 and "validate" in out and "step" in out
    code, out, _ = call("run", "--help")
    assert code == 0 and "--set" in out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["rnu"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "nowhere.yaml"], "nowhere.yaml is not a file"),
        (["run", "nowhere.yaml", "--fast"], "No such option"),
        (["status", "nowhere"], "is not a run folder"),
        (["step", "nowhere"], "is not a run folder"),
        (["report", "nowhere"], "is not a run folder"),
        (["validate", "nowhere.json"], "nowhere.json does not exist"),
        (["list", "--plugins", "nowhere.py"], "nowhere.py is not a file"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(call, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert reason.lower() in err.lower()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"selection": {"method": "adpat"}}, "did you mean 'adapt'"),
        ({"selection": {"scorers": ["perplexty"]}}, "did you mean 'perplexity'"),
        ({"selection": {"budgt": 3}}, "did you mean 'budget'"),
        ({"model": {"path": ""}}, "model.path is empty"),
        ({"model": {"path": "/no/such/model"}}, "/no/such/model"),
        ({"stream": []}, "stream is empty"),
        ({"stream": [{"name": "a", "path": "gone.json"}]}, "gone.json does not exist"),
        ({"evaluation": [{"skill": "s", "path": "gone.json"}]}, "gone.json does not exist"),
        ({"plugins": ["gone.py"]}, "gone.py is not a file"),
    ],
)
def test_a_run_that_cannot_get_anywhere_is_refused_before_a_model_is_loaded(
    call, tmp_path, dataset, monkeypatch, changes, reason
):
    from adaptinf.models import recipe

    if "/no/such" not in reason:
        monkeypatch.setattr(recipe, "load", lambda *_: pytest.fail("a model was loaded"))
    stream = write_stream(tmp_path / "s.yaml", [dataset], **{**QUICK, **changes})
    code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and reason in err


def test_scorers_that_the_method_does_not_take_are_said_to_have_no_effect(call, tmp_path, dataset):
    for method, scorers, said in (
        ("random_replay", ["el2n"], "note: selection.scorers=['el2n'] has no effect: random_replay takes no scorers"),
        ("random_replay", None, None),
        ("adapt", ["el2n"], None),
    ):
        selection = {"method": method, **({"scorers": scorers} if scorers else {})}
        stream = write_stream(tmp_path / "s.yaml", [dataset], selection=selection)
        code, _, err = call("run", stream, "--out", tmp_path / f"{method}-{bool(scorers)}", "--quiet")
        assert code == 0 and (said in err if said else "note:" not in err), err


def test_yaml_that_is_none_is_a_users_mistake(call, tmp_path):
    (tmp_path / "s.yaml").write_text("a: [")
    code, _, err = call("run", tmp_path / "s.yaml")
    assert code == 2 and "is not valid YAML" in err


def test_a_bad_row_stops_the_run_where_that_is_asked_for(call, tmp_path):
    bad = write_dataset(tmp_path, "bad", [*rows(2), row(7, "?", "", skill="s")])
    stream = write_stream(tmp_path / "s.yaml", [bad], data={"on_bad_row": "stop"}, **QUICK)
    code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and re.search(r"bad\.json row 2: empty answer .*data\.on_bad_row=reject", err)
    assert not (tmp_path / "run" / "pool" / "00-bad").exists()
    (tmp_path / "bad.json").write_text(json.dumps(rows(2)))
    code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 0, err


def test_run_says_what_came_of_it_and_again_does_nothing(call, tmp_path, dataset):
    tests = [write_test(tmp_path, "sums", rows(4)[1::2])]
    stream = write_stream(tmp_path / "s.yaml", [dataset], tests, **QUICK)
    code, out, err = call("run", stream, "--out", tmp_path / "run", "--set", "selection.budget=4")
    assert code == 0, err
    assert "random_replay" in out and f"run folder: {tmp_path / 'run'}" in out
    assert f"report: {tmp_path / 'run' / 'report.html'}" in out and (tmp_path / "run" / "report.html").is_file()
    assert "train" in err, "progress goes to standard error"
    assert len(chosen(tmp_path / "run", "00")) == 4
    events = (tmp_path / "run" / "events.jsonl").read_text()
    assert call("run", stream, "--out", tmp_path / "run", "--set", "selection.budget=4", "--quiet")[0] == 0
    assert (tmp_path / "run" / "events.jsonl").read_text() == events
    code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and "selection.budget=4, now it is 8" in err


def test_report_stands_beside_its_runs_or_where_it_is_asked_for(call, tmp_path, dataset):
    stream = write_stream(tmp_path / "s.yaml", [dataset], **QUICK)
    one, two = tmp_path / "runs" / "one", tmp_path / "runs" / "two"
    for folder in (one, two):
        assert call("run", stream, "--out", folder, "--quiet")[0] == 0
    (one / "report.html").unlink()
    assert call("report", one, "--quiet") == (0, f"{one / 'report.html'}\n", "")
    assert call("report", one, two)[1] == f"{tmp_path / 'runs' / 'report.html'}\n"
    assert call("report", one, two, "--out", tmp_path / "deep" / "a.html")[1] == f"{tmp_path / 'deep' / 'a.html'}\n"
    for page in (one / "report.html", tmp_path / "runs" / "report.html", tmp_path / "deep" / "a.html"):
        assert "adaptinf report" in page.read_text()


def test_add_and_step_end_like_run(call, tmp_path, dataset):
    other = write_dataset(tmp_path, "two", rows(8, word="item"))
    stream = write_stream(tmp_path / "s.yaml", [dataset, other])
    assert call("run", stream, "--out", tmp_path / "run", "--quiet")[0] == 0

    settings = yaml.safe_load(stream.read_text())
    options = [
        f"--set={section}.{key}={json.dumps(value)}"
        for section in ("extraction", "clustering", "selection", "training", "pruning", "model")
        for key, value in settings[section].items()
        if key != "path"
    ]
    mine = tmp_path / "mine"
    assert call("init", mine, "--model", BASE_PATH, "--set=seed=3", *options)[0] == 0
    for number, entry in enumerate((dataset, other)):
        code, out, _ = call("add", mine, entry["path"], "--images", entry["images"], "--quiet")
        assert code == 0 and out.startswith(f"{entry['name']}: 8 samples added, 0 rejected")
        assert json.loads(call("status", mine, "--json")[1])["steps_waiting"] == 1
        if number == 1:
            config = (mine / "config.yaml").read_text()
            (mine / "config.yaml").write_text(config.replace("\nseed: 3", "\nseed: 4"))
            code, _, err = call("step", mine, "--quiet")
            assert code == 2 and f"{mine} was made with seed=3, now it is 4; put it back in {mine}/config.yaml" in err
            (mine / "config.yaml").write_text(config)
        code, _, err = call("step", mine, "--quiet")
        assert code == 0, err
        assert chosen(mine, f"0{number}") == chosen(tmp_path / "run", f"0{number}")
    code, _, err = call("step", mine, "--quiet")
    assert code == 2 and "all 2 datasets are learnt" in err

    for folder in (mine, tmp_path / "run"):
        found = json.loads(call("status", folder, "--json")[1])
        assert (found["steps_finished"], found["steps_waiting"], found["pool"]) == (2, 0, 16)
        assert [step["rows"] for step in found["steps"]] == [8, 8] and found["disk_bytes"] > 0
    code, out, _ = call("status", mine)
    assert code == 0 and "2 steps finished, 0 waiting" in out and re.search(r"one +8 +0 +finished", out)
    # The resolved configuration replays it.
    code, _, err = call("run", mine / "config.yaml", "--out", tmp_path / "replay", "--quiet")
    assert code == 0, err
    assert [chosen(tmp_path / "replay", step) for step in ("00", "01")] == [chosen(mine, step) for step in ("00", "01")]


def test_init_writes_a_commented_configuration_once(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("init", "mine", "--model", BASE_PATH, "--set", "selection.budget=12")
    assert code == 0 and "adaptinf add mine" in out
    config = configuration.load(tmp_path / "mine" / "config.yaml")
    assert config.selection.budget == 12 and config.model.path == str(BASE_PATH)
    assert "# Samples to train on in one step." in (tmp_path / "mine" / "config.yaml").read_text()
    code, _, err = call("init", "mine", "--model", BASE_PATH)
    assert code == 2 and "exists already" in err
    code, _, err = call("init", "other", "--model", "x", "--set", "selection.budge=1")
    assert code == 2 and "did you mean 'budget'" in err and not (tmp_path / "other").exists()


def test_adding_what_is_wrong_changes_nothing(call, tmp_path, dataset):
    mine = tmp_path / "mine"
    call("init", mine, "--model", BASE_PATH)
    before = (mine / "config.yaml").read_text()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "odd.json").write_text('[{"question": 1}]')
    for words in (["nowhere.json"], [tmp_path / "broken.json"], [tmp_path / "odd.json"], [dataset["path"], "--name=/"]):
        assert call("add", mine, *words, "--quiet")[0] == 2
        assert (mine / "config.yaml").read_text() == before
    assert call("add", mine, dataset["path"], "--images", dataset["images"], "--quiet")[0] == 0
    code, _, err = call("add", mine, dataset["path"], "--images", dataset["images"], "--quiet")
    assert code == 2 and "already" in err


def test_validate_names_file_row_and_reason_of_bad_rows(call, tmp_path):
    content = [*rows(4), row(4, "?", "", skill="s"), row(5, "?", "!", skill="s", image="gone.png"), 7]
    entry = write_dataset(tmp_path, "mixed", content)
    code, out, _ = call("validate", entry["path"], "--images", entry["images"], "--quiet")
    assert code == 0
    assert "4 samples" in out and "3 rejected" in out
    for number, reason in ((4, "empty answer"), (5, "gone.png"), (6, "not an object")):
        assert re.search(rf"mixed\.json row {number}: .*{reason}", out)
    code, out, err = call("validate", entry["path"], "--images", entry["images"], "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["samples"], [item["row"] for item in found["rejected"]]) == (4, [4, 5, 6])
    assert found["samples_by_pictures"] == {"0": 2, "1": 2} and found["skills"] == {"colours": 2, "sums": 2}


FORMAT = """
from adaptinf.formats import Conversation, Turn
from adaptinf.registry import dataset_format


@dataset_format("quiz")
class Quiz:
    def sniff(self, row):
        return "solution" in row

    def parse(self, row):
        return Conversation(turns=[Turn("user", [row["question"]]), Turn("assistant", [row["solution"]])])

    def render(self, sample, images):
        raise NotImplementedError  # nothing is exported here
"""


def test_a_format_of_ones_own_is_looked_at_before_it_joins_a_run(call, tmp_path):
    (tmp_path / "quiz.py").write_text(FORMAT)
    (tmp_path / "quiz.json").write_text(json.dumps([{"question": "2 + 2?", "solution": "4"}]))
    words = (tmp_path / "quiz.json", "--plugins", tmp_path / "quiz.py", "--json")
    code, out, _ = call("validate", *words)
    assert code == 0 and json.loads(out)["samples"] == 1
    code, out, _ = call("inspect", words[0], 0, *words[1:])
    assert code == 0 and json.loads(out)["messages"][1]["content"][0]["text"] == "4"


def test_validate_says_what_to_do_when_no_image_is_where_it_is_looked_for(call, dataset, tmp_path):
    code, out, _ = call("validate", dataset["path"], "--quiet", "--images", tmp_path)
    assert code == 0 and "4 rejected" in out and "--images" not in out, "half of the rows have no image"
    only_images = write_dataset(tmp_path, "only-images", rows(8)[::2])
    code, out, _ = call("validate", only_images["path"], "--quiet")
    assert code == 2 and out.endswith("name the folder that their paths start from with --images\n")


def test_validate_with_a_model_shows_what_is_learnt(call, dataset):
    code, out, _ = call("validate", dataset["path"], "--images", dataset["images"], "--model", BASE_PATH, "--json")
    tokens = json.loads(out)["tokens"]
    assert code == 0 and tokens["measured"] == 8 and tokens["learns_to_stop"]
    assert tokens["first_answer"].replace(" ", "") == "red<|end|>"
    assert tokens["median"] <= tokens["p95"] <= tokens["longest"]


def test_list_names_every_plug_in_with_a_line_of_its_own(call, tmp_path):
    code, out, _ = call("list", "--json")
    found = json.loads(out)
    assert code == 0 and set(found) == {"format", "scorer", "selector", "metric", "executor"}
    assert all(line for kind in found.values() for line in kind.values())
    code, out, _ = call("list")
    assert code == 0 and "adapt" in out and "perplexity" in out
    mine = tmp_path / "mine_listed.py"
    mine.write_text(
        "from adaptinf.registry import scorer\n\n@scorer('zz_mine')\nclass Mine:\n    '''My own score.'''\n"
    )
    code, out, _ = call("list", "--plugins", mine)
    assert code == 0 and re.search("zz_mine +My own score.", out)
    assert "zz_mine" not in registry.scorer.names()


def test_doctor_says_json_and_fails_when_something_is_bad(call, tmp_path, monkeypatch):
    from adaptinf.doctor import machine as doctor

    code, out, _ = call("doctor", "--out", tmp_path / "not" / "yet", "--json")
    checks = {check["name"]: check for check in json.loads(out)}
    assert {"adaptinf", "python", "torch", "transformers", "memory", "disk"} <= set(checks)
    assert code == (0 if all(check["is_good"] for check in checks.values()) else 2)
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Check("disk", "0 GiB", False, "make room")])
    code, out, _ = call("doctor")
    assert code == 2 and "BAD  disk" in out and "make room" in out
    assert out.splitlines()[-2:] == ["1 problem in 1 check:", "BAD  disk             0 GiB  <- make room"]
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Check("disk", "9 GiB", True)])
    assert call("doctor")[:2] == (0, "ok   disk             9 GiB\n\n0 problems in 1 check\n")


def test_doctor_looks_at_a_run_whose_tests_name_a_dataset_that_is_still_to_come(call, tmp_path, dataset, monkeypatch):
    monkeypatch.setattr("adaptinf.doctor.model.check_model", lambda *_, **__: [])
    assert call("init", tmp_path / "live", "--model", BASE_PATH)[0] == 0
    assert call("add", tmp_path / "live", dataset["path"], "--images", dataset["images"], "--quiet")[0] == 0
    path = tmp_path / "live" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values["evaluation"] = [{"skill": "sums", "path": dataset["path"], "introduced_at": "later"}]
    path.write_text(yaml.safe_dump(values))
    assert call("doctor", path, "--quiet")[0] == 0
    path.write_text(yaml.safe_dump({**values, "made_by": None}))
    code, _, err = call("doctor", path, "--quiet")
    assert code == 2 and "introduced_at='later' is no dataset of the stream" in err


def test_a_run_in_use_is_refused_with_the_number_of_its_process(call, tmp_path, dataset):
    stream = write_stream(tmp_path / "s.yaml", [dataset], **QUICK)
    with lock.held(tmp_path / "run"):
        code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and re.search(r"is in use by process \d+", err)


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "repeat the command to resume"),
        (
            OSError(errno.ENOSPC, "No space left on device", "model.safetensors"),
            2,
            "model.safetensors: no space left on device; free some space",
        ),
        (OSError("1000 requested and 984 written"), 2, "1000 requested and 984 written"),
        (RuntimeError("oops"), 1, "this is a bug in adaptinf"),
    ],
)
def test_what_ends_a_run_decides_its_exit_code(call, tmp_path, dataset, monkeypatch, failure, code, said):
    def fail(*_, **__):
        raise failure

    stream = write_stream(tmp_path / "s.yaml", [dataset], **QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(learning, "train", fail)
        found, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert found == code and said in err
    assert ("Traceback" in err) == (code == 1)
    assert not (tmp_path / "run" / "steps" / "00" / "model").exists()
    found, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert found == 0, err


def test_ctrl_c_promises_to_go_on_only_where_the_command_does(call, dataset, monkeypatch):
    from adaptinf.doctor import dataset as validation

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(validation, "validate", stop)
    assert call("validate", dataset["path"]) == (130, "", "adaptinf: stopped\n")


@pytest.mark.parametrize("target", ["safetensors", "checkpoint"])
def test_a_disk_that_is_full_while_weights_are_written_is_the_users_to_mend(
    call, tmp_path, dataset, monkeypatch, target
):
    """Neither library below raises OSError when the disk is full."""
    from safetensors import SafetensorError
    from transformers import modeling_utils

    from adaptinf import training

    def full(*_, **__):
        if target == "safetensors":
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    stream = write_stream(tmp_path / "s.yaml", [dataset], **QUICK)
    with monkeypatch.context() as patch:
        if target == "safetensors":
            patch.setattr(modeling_utils, "safe_save_file", full)
        else:
            patch.setattr(training.Trainer, "_save_optimizer_and_scheduler", full)
        code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and "steps/00/model.part" in err and "disk" in err
    assert not (tmp_path / "run" / "steps" / "00" / "model").exists()
    assert call("run", stream, "--out", tmp_path / "run", "--quiet")[0] == 0


@pytest.mark.parametrize(
    "name", ["selection/selection.parquet", "features/vectors.npy", "clusters/info.json", "features/scores.parquet"]
)
def test_a_damaged_file_of_a_finished_stage_is_named(call, tmp_path, dataset, monkeypatch, name):
    stream = write_stream(tmp_path / "s.yaml", [dataset])
    with monkeypatch.context() as patch:
        patch.setattr(learning, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert call("run", stream, "--out", tmp_path / "run", "--quiet")[0] == 130
    path = tmp_path / "run" / "steps" / "00" / name
    path.unlink()
    path.write_bytes(b"damaged")
    code, _, err = call("run", stream, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and f"steps/00/{name} " in err and "bring back a copy" in err and err.count("\n") == 1
