"""Commands and configurations as a new user would type them: each mistake ends with what was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROW = {"id": "1", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
COMMANDS = {
    "statsu {run}": "'status'",
    "train {stream}": "'adaptinf run'",
    "check {data}": "'adaptinf validate'",
    "help": "'adaptinf --help'",
    "version": "'adaptinf --version'",
    "-v": "'adaptinf --version'",
    "run": "`adaptinf run --help` shows its arguments",
    "run {stream} --ouput x": "Did you mean '--out'?",
    "status {run} --wach": "Did you mean '--watch'?",
    "run {data}": "`adaptinf init RUN --model MODEL --from DATA` writes a config.yaml",
    "run {run}": "did you mean {run}/stream.yaml?",
    "status {stream}": "is a file, not a run folder; `adaptinf run {stream}` makes one",
    "status {run}": "make one with `adaptinf init {run} --model MODEL`",
    "monitor {run}": "'adaptinf status --watch'",
    "completion bsh": "did you mean 'bash'?",
    "run {stream} --set selection.buget=10": "selection.buget: unknown key; did you mean 'budget'?",
    "run {stream} --set selection.budget": "write --set selection.budget=VALUE",
}
"""What is typed -> what the message says."""
STREAM = "stream: [{{name: a, path: {data}}}]"
SETTINGS = {
    "selection: {{buget: 10}}": "selection.buget: unknown key; did you mean 'budget'?",
    "selection: {{method: adapt-plus}}": "did you mean 'adapt_plus'?",
    "selection: {{scorers: [perplexty]}}": "did you mean 'perplexity'?",
    "training: {{lr: 1.0e-4}}": "training.lr: unknown key; did you mean 'learning_rate'?",
    "training: {{batchsize: 4}}": "did you mean 'batch_size'?",
    "budget: 10": "budget: unknown key; did you mean 'selection.budget'?",
    "epochs: 3": "did you mean 'training.epochs'?",
    "gpus: 2": "did you mean 'training.devices'?",
    "lora: {{r: 8}}": "did you mean 'model.lora'?",
    "executor: proceses": "did you mean 'processes'?",
    "evaluation: {{skill: s, path: x}}": "evaluation: a list belongs here, one entry each; did you mean [{{skill,",
    "training:\n\tepochs: 2": "indent with spaces, not with a tab",
}
"""What stands beside model and stream -> what the message says."""
WHOLE = {
    "model: {model}\n" + STREAM: "model: keys and values belong here, not '{model}'; did you mean {{path: {model}}}?",
    "model: {{path: {model}}}\nstream: {data}": "stream: a list belongs here, one entry each; did you mean [{{path: ",
    "model: {{path: {model}}}\ndatasets: []": "datasets: unknown key; did you mean 'stream'?",
    "model: {{path: {model}, dtype: bf16}}\n" + STREAM: "did you mean 'bfloat16'?",
    "model: {{path: {model}}}\nstream: [{{name: a, file: {data}}}]": "stream.0.file: unknown key; did you mean 'path'?",
    "model: {{path: {model}}}\nstream: [{{name: a, path: {data}, format: lava}}]": "did you mean 'llava'?",
    "model: {{path: {model}l}}\n" + STREAM: "model.path: {model}l does not exist",
    "": "stream is empty; list at least one dataset (name, path, images)",
}
"""A whole file -> what the message says."""


@pytest.fixture
def places(tmp_path) -> dict[str, Path]:
    data, run = tmp_path / "data.json", tmp_path / "run"
    data.write_text(json.dumps([ROW]))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    run.mkdir()
    found = {"data": data, "run": run, "model": tmp_path / "model", "stream": run / "stream.yaml"}
    found["stream"].write_text("model: {path: MODEL}\n".replace("MODEL", str(found["model"])))
    return found


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_command_that_is_wrong_says_what_was_meant(typed, places, call):
    code, _, said = call(*typed.format(**places).split())
    assert code == 2 and COMMANDS[typed].format(**places) in said
    assert said.startswith("adaptinf: ")


@pytest.mark.parametrize("text", [*SETTINGS, *WHOLE])
def test_a_configuration_that_is_wrong_says_what_was_meant(text, places, tmp_path, call):
    whole = text if text in WHOLE else "model: {{path: {model}}}\n" + STREAM + "\n" + text
    (tmp_path / "stream.yaml").write_text(whole.format(**places) + "\n")
    code, _, said = call("run", tmp_path / "stream.yaml", "--out", tmp_path / "out")
    assert code == 2 and {**SETTINGS, **WHOLE}[text].format(**places) in said
    assert not (tmp_path / "out").exists()


def test_help_is_there_under_its_short_name(call):
    assert call("-h")[:2] == call("--help")[:2]
    assert "--watch" in call("status", "-h")[1]
