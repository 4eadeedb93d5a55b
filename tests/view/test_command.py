"""adaptinf view as a command: what it refuses, and how it says so."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from adaptinf import api, cli
from adaptinf.errors import ConfigError
from adaptinf.pipeline import mapping
from tests.helpers.explored_runs import explored_run


def run_command(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["adaptinf", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err


@pytest.fixture
def without_the_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(mapping, "find_spec", lambda name: None if name == mapping.PACKAGE else find(name))


@pytest.mark.parametrize("options", [[], ["--export", "out"]])
def test_without_the_extra_it_ends_with_the_command_that_installs_it(
    monkeypatch, capsys, tmp_path, without_the_extra, options
):
    code, text = run_command(monkeypatch, capsys, "view", tmp_path, *options)
    assert code == 2
    assert text.count("\n") == 1 and "pip install 'adaptinf[view]'" in text


@pytest.mark.parametrize("options", [["--step", "0"], ["--export", "out"]])
def test_a_live_page_takes_no_options_of_the_explorer(monkeypatch, capsys, tmp_path, options):
    code, text = run_command(monkeypatch, capsys, "view", tmp_path, "--live", *options)
    assert code == 2 and "leave out --step and --export" in text


def test_an_export_says_where_it_is_and_how_to_look_at_it(monkeypatch, capsys, tmp_path):
    run = explored_run(tmp_path, 60, 2)
    (tmp_path / "images" / "000001.png").unlink()
    monkeypatch.setattr(
        "sys.argv", ["adaptinf", "view", str(run.folder), "--export", str(tmp_path / "page"), "--quiet"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    line, note = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert "60 samples and 1 thumbnail of step 1" in line and f"--directory {tmp_path / 'page'} shows it" in line
    assert note == "note: 1 image cannot be read any more"
    code, text = run_command(monkeypatch, capsys, "view", run.folder, "--export", tmp_path / "page")
    assert code == 2 and "page" in text


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    run = explored_run(tmp_path, 60, 0)
    command = [sys.executable, "-m", "adaptinf", "view", str(run.folder), "--step", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{url}data/view.json", timeout=30) as answer:
            assert json.loads(answer.read())["step"] == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("call", [api.view, api.view_live, lambda folder: api.export_view(folder, out="out")])
def test_a_folder_that_is_no_run_is_refused(tmp_path, call):
    with pytest.raises(ConfigError, match="run"):
        call(tmp_path / "none")
