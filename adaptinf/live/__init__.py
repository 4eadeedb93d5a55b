"""A page that shows what a run does at the moment."""

from __future__ import annotations

from collections.abc import Callable

from adaptinf.errors import ConfigError
from adaptinf.runs import Run


def serve(run: Run, *, host: str, port: int, ready: Callable[[str], None] | None) -> None:
    """Serve the page about a run until Ctrl-C; `ready` is called with its URL."""
    raise ConfigError("adaptinf view --live is not finished in this version; use `adaptinf status`")
