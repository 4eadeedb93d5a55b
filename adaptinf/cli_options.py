"""Options and arguments that several commands share, and how JSON is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override one setting: --set selection.budget=1000")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.")]


def print_json(value: Any) -> None:
    """Print any value that JSON can hold; NaN becomes null."""
    from adaptinf.tables import as_json_text

    print(as_json_text(value))
