"""The command that shows a run in a browser: its pool, or with --live what it does at the moment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptinf import api
from adaptinf.api.viewing import LOCALHOST
from adaptinf.cli.options import Quiet, RunFolder
from adaptinf.cli.output import say
from adaptinf.errors import ConfigError


def view(
    folder: RunFolder,
    step: Annotated[
        int | None, typer.Option(help="Number of the step that is shown, from 0; the last finished one.", min=0)
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any that is free.", min=0, max=65535)] = 0,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; another one asks for a token, in its URL; --live has loopback only.",
        ),
    ] = LOCALHOST,
    export: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write a new folder that any web server shows, and end.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Show what the run does at the moment.")] = False,
    quiet: Quiet = False,
) -> None:
    """Explore the pool of a run in a browser, or watch the run.

    The whole pool as a map and a table: search, filter, look at samples, take their ids away. Needs
    `pip install 'adaptinf[view]'`; --live and an exported folder need no extra.
    """
    if live and (export is not None or step is not None):
        raise ConfigError("--live shows a run as it is now; leave out --step and --export")
    if live:
        api.view_live(folder, host=host, port=port, ready=_say_where)
        return
    from adaptinf.cli.progress import make_progress

    progress = make_progress(quiet=quiet)
    if export is None:
        api.view(folder, step=step, host=host, port=port, ready=_say_where, progress=progress)
        return
    found = api.export_view(folder, out=export, step=step, progress=progress)
    say(found.line, *(f"note: {line}" for line in found.notes))


def _say_where(url: str) -> None:
    say(f"open {url} (Ctrl-C ends)")
