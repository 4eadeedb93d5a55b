"""The version, and completion in bash, zsh and fish: the scripts, and the words that they get."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import adaptinf
from adaptinf.cli.completion import ASKED, SHELLS

ASK = {
    "bash": {"COMP_WORDS": "adaptinf stat", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "adaptinf stat"},
    "fish": {"_TYPER_COMPLETE_ARGS": "adaptinf stat", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}
"""What each shell's script puts into the environment."""


def test_the_version_is_printed(call):
    assert call("--version") == (0, f"{adaptinf.__version__}\n", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gets_a_script_that_asks_the_command_and_the_words_that_it_asks_for(shell, call):
    code, script, _ = call("completion", shell)
    assert code == 0 and f"{ASKED}=complete_{shell}" in script and "adaptinf" in script
    environment = {**os.environ, ASKED: f"complete_{shell}", **ASK[shell]}
    code = "import sys; sys.argv = ['adaptinf']; from adaptinf.cli import main; main()"
    asked = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "status" in asked.stdout and "validate" not in asked.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_its_script(shell, call, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(call("completion", shell)[1])
    checked = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
