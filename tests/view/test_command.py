"""adaptinf view as a command: what it refuses, and how it says so."""

from __future__ import annotations

import importlib.util

import pytest

from adaptinf import api, cli
from adaptinf.errors import ConfigError
from adaptinf.pipeline import mapping


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


@pytest.mark.parametrize("call", [api.view, api.view_live, lambda folder: api.export_view(folder, out="out")])
def test_a_folder_that_is_no_run_is_refused(tmp_path, call):
    with pytest.raises(ConfigError, match="run"):
        call(tmp_path / "none")
