"""Whether a model's chat template ends, in little memory: tried in another process before it is used in this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from adaptinf.errors import ModelError

PROGRAM = Path(__file__).with_name("template_child.py")
TOO_LARGE = 3
"""Exit code of the program for a template that takes too much memory."""
WALL_SECONDS = 120
"""The program has a limit of processor time; this is for a machine that is very busy."""
WAY_OUT = "put the chat_template.jinja of its model family into the folder"


def refuse_endless(template: object, path: str) -> None:
    """Refuse a chat template that takes too long, or too much memory, for a short conversation.

    Args:
        template: the template, or several by their names.
        path: of the model, for the message.

    Raises:
        ModelError: it does.
    """
    for text in template.values() if isinstance(template, Mapping) else [template]:
        problem = _problem(str(text))
        if problem:
            raise ModelError(f"model.path={path}: the chat template {problem} for a short conversation; {WAY_OUT}")


@lru_cache(maxsize=32)
def _problem(template: str) -> str | None:
    """Return what is wrong with a template; None: nothing. One try per process and template, of a tenth of a second."""
    # The folder of the program is not looked in for modules, which its neighbours' names could hide.
    command = [sys.executable, "-P", str(PROGRAM)]
    try:
        code = subprocess.run(
            command, input=template.encode("utf-8", "replace"), capture_output=True, timeout=WALL_SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return "does not end"
    if code == TOO_LARGE:
        return "takes more than 1 GB of memory or writes more than 64 million characters"
    # Ended by the system at its limit of processor time.
    return "takes more than 5 s of processor time" if code < 0 else None
