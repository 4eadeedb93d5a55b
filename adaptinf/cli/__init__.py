"""The command line: it parses, calls adaptinf.api and formats, and is the only place that prints and exits."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Annotated, NoReturn

import typer

import adaptinf
from adaptinf.cli import changes, comparing, completion, results, running, tools, viewing
from adaptinf.cli.output import prepare_streams, say, say_error, say_text
from adaptinf.cli.suggestions import usage_message
from adaptinf.errors import AdaptError, GateStopped, Terminated
from adaptinf.storage import space

app = typer.Typer(
    name="adaptinf",
    help="Keep a vision-language model learning from a stream of instruction datasets.",
    epilog="First steps: `adaptinf demo` needs no data; `adaptinf validate` checks yours; `adaptinf run` trains on it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RESUMABLE = ("demo", "run", "add", "step", "compare")
"""Commands that resume where they were stopped; what they had finished is complete."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""
TERMINATED = 143
"""Exit code after SIGTERM: 128 + SIGTERM."""

NAMED_BEFORE, NAMED_AFTER = 200, 60
"""Characters around a place that cannot be written, for the message."""


def main() -> None:
    """Run the command line.

    A user's mistake ends with one message and exit code 2, a run that the gate stops or rolls back with 3, Ctrl-C with
    130, SIGTERM during a training with 143, a bug of ours with its traceback and 1.
    """
    prepare_streams()
    completion.prepare()
    try:
        # Outside of standalone mode a command's `typer.Exit` comes back as a number, and so may Ctrl-C.
        code = app(standalone_mode=False) or 0
    except GateStopped as error:
        _fail(str(error), running.GATE_CODE)
    except AdaptError as error:
        _fail(str(error), TERMINATED if isinstance(error, Terminated) else 2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except UnicodeEncodeError as error:
        _fail(f"{_around(error)!r} has characters that are no text (a file name that is no UTF-8?); rename it", 2)
    except OSError as error:
        # A full disk, or a folder without permission to write: the user can fix it, and nothing finished is lost.
        place = f"{error.filename}: " if error.filename else ""
        _fail(space.sentence(error) or f"{place}{error.strerror or error}; correct that and repeat the command", 2)
    except Exception as error:  # a usage error of click has a message of its own; everything else is our bug
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            _fail(usage_message(error, sys.argv[1:]), error.exit_code)
        say_text(traceback.format_exc().rstrip(), is_error=True)
        _fail("this is a bug in adaptinf; please report it with the lines above", 1)
    if code == INTERRUPTED:
        _fail(_stopped(sys.argv[1:]), INTERRUPTED)
    sys.exit(code)


def _around(error: UnicodeEncodeError) -> str:
    """Return the name with the characters that cannot be written: up to the quotes or line ends around them, cut."""
    text = str(error.object)
    before = re.split(r'[\n"]', text[: error.start])[-1][-NAMED_BEFORE:]
    after = re.split(r'[\n"]', text[error.end :])[0][:NAMED_AFTER]
    return before + text[error.start : error.end] + after


def _stopped(words: list[str]) -> str:
    """Return what Ctrl-C means for a command."""
    is_resumable = words and words[0] in RESUMABLE
    return "stopped; repeat the command to resume" if is_resumable else "stopped"


def _fail(message: str, code: int) -> NoReturn:
    say_error(message)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(adaptinf.__version__)
        raise typer.Exit()


COMMANDS = (
    *(comparing.demo, running.init, running.run, running.add, running.step, running.status, running.report),
    viewing.view,
    *(comparing.compare, results.explain, results.export, results.export_model, results.verify),
    *(results.exclude, results.restore, results.withdraw),
    changes.accept,
    changes.relocate,
    *(tools.validate, tools.inspect, tools.doctor, tools.select),
    completion.completion,
)
"""In the order of `adaptinf --help`."""
for command in COMMANDS:
    app.command()(command)
app.command(name="list")(tools.list_plugins)
