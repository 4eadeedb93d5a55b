"""What was probably meant by a command or an option that there is not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

MEANT = {
    "train": "run", "fit": "run", "resume": "run", "continue": "run", "start": "run", "evaluate": "run", "eval": "run",
    "test": "run", "check": "validate", "lint": "validate", "watch": "status --watch", "progress": "status --watch",
    "monitor": "status --watch", "show": "report", "results": "report", "plot": "report", "dashboard": "view",
    "ui": "view", "web": "view", "explore": "view", "serve": "export-model", "merge": "export-model",
    "remove": "exclude", "drop": "exclude", "delete": "exclude", "undo": "restore", "plugins": "list", "new": "init",
    "create": "init", "benchmark": "compare", "help": "--help", "version": "--version", "-v": "--version",
    "-V": "--version",
}  # fmt: skip
"""Words that other tools have for our commands and options."""
UNKNOWN_COMMAND = re.compile(r"No such command '([^']*)'")
UNKNOWN_OPTION = re.compile(r"No such option:? ?'?(-[^\s']*)")


# Any: the errors and commands of typer are click's, which has no part in the interface of typer.
def usage_message(error: Any, words: Sequence[str]) -> str:
    """Return what is wrong with a command line, with what was probably meant, and where help is."""
    message = str(error.format_message())
    command, option = UNKNOWN_COMMAND.search(message), UNKNOWN_OPTION.search(message)
    context = getattr(error, "ctx", None)
    if command and command[1] in MEANT:
        message = f"No such command {command[1]!r}. Did you mean 'adaptinf {MEANT[command[1]]}'?"
    elif option and option[1] in MEANT:
        message = f"No such option: {option[1]}. Did you mean 'adaptinf {MEANT[option[1]]}'?"
    elif option and context is not None:
        known = [name for item in context.command.params for name in item.opts if name.startswith("-")]
        near = difflib.get_close_matches(option[1], known, n=1)
        message = f"No such option: {option[1]}." + (f" Did you mean {near[0]!r}?" if near else "")
    return f"{message} ({_help_of(context, words)})"


def _help_of(context: Any, words: Sequence[str]) -> str:
    """Return where to read on: the command's own help, if a command was named."""
    name = getattr(context, "info_name", None)
    if words and name == words[0]:
        return f"`adaptinf {name} --help` shows its arguments and options"
    return "see `adaptinf --help` for the commands, and after a command for its options"
