"""`adaptinf completion`: a script by which a shell completes commands and options."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from adaptinf.cli.output import say_text
from adaptinf.words import check_name

SHELLS = ("bash", "zsh", "fish")
"""Shells that are known."""
PROGRAM = "adaptinf"
ASKED = "_ADAPTINF_COMPLETE"
"""Variable by which the script asks the command for words."""


def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print a script that makes a shell complete commands and options."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer exports nothing itself

    check_name("SHELL", shell, SHELLS)
    say_text(get_completion_script(prog_name=PROGRAM, complete_var=ASKED, shell=shell))


def prepare() -> None:
    """Know the shells if one asks for words; otherwise nothing is loaded for them."""
    if ASKED in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # as above

        completion_init()
