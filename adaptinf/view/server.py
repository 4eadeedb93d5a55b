"""The explorer, served on this machine."""

from __future__ import annotations

from collections.abc import Callable

from adaptinf.errors import ConfigError
from adaptinf.runs import Run


def serve(run: Run, step: int | None, *, host: str, port: int, ready: Callable[[str], None] | None) -> None:
    """Serve the explorer of a step's pool until Ctrl-C."""
    raise ConfigError("adaptinf view is not finished in this version; use `adaptinf report`")
