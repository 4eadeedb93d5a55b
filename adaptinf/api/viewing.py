"""The commands that show a run in a browser: its pool, and what it does at the moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adaptinf.api.paths import PathLike
from adaptinf.progress import Progress

if TYPE_CHECKING:
    from adaptinf.view.exporting import WrittenExplorer

LOCALHOST = "127.0.0.1"
"""The address that only this machine reaches."""


def view(
    folder: PathLike,
    *,
    step: int | None = None,
    host: str = LOCALHOST,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Serve the explorer of a step's pool, until Ctrl-C; the map is made first where the step has none.

    Args:
        folder: the run folder.
        step: number of the step, from 0; None: the last finished one.
        host: address to listen on; another one than 127.0.0.1 asks for a token, which its URL holds.
        port: port to listen on; 0: any that is free.
        ready: called with the URL when the page can be opened.
        progress: where to report.

    Raises:
        ConfigError: the extra is not installed, there is no such run or finished step, or the address cannot be
            listened on.
        StoreError: a file of the run is damaged.
    """
    from adaptinf.runs import Run
    from adaptinf.view.extra import check_installed
    from adaptinf.view.server import serve

    check_installed()
    serve(Run.open(Path(folder), progress=progress), step, host=host, port=port, ready=ready)


def export_view(
    folder: PathLike, *, out: PathLike, step: int | None = None, progress: Progress | None = None
) -> WrittenExplorer:
    """Write the explorer of a step's pool as a folder that any web server shows, without Python.

    Args:
        folder: the run folder.
        out: the new folder.
        step: number of the step, from 0; None: the last finished one.
        progress: where to report.

    Raises:
        ConfigError: the extra is not installed, there is no such run or finished step, or `out` exists.
        StoreError: a file of the run is damaged.
    """
    from adaptinf.runs import Run
    from adaptinf.view.exporting import write_explorer
    from adaptinf.view.extra import check_installed

    check_installed()
    return write_explorer(Run.open(Path(folder), progress=progress), step, Path(out))


def view_live(
    folder: PathLike, *, host: str = LOCALHOST, port: int = 0, ready: Callable[[str], None] | None = None
) -> None:
    """Serve a page that shows what a run does at the moment, until Ctrl-C.

    `host`, `port` and `ready` as in `view`.

    Raises:
        ConfigError: there is no such run, or the address cannot be listened on.
    """
    from adaptinf.live import serve
    from adaptinf.runs import Run

    serve(Run.open(Path(folder)), host=host, port=port, ready=ready)
