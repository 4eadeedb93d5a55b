"""What several commands share: options and arguments, JSON on standard output, quiet libraries."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override one setting: --set selection.budget=1000")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.")]
DataPath = Annotated[Path, typer.Argument(help="Dataset: a file or a folder.")]
Images = Annotated[Path | None, typer.Option(help="Folder that image paths are relative to.")]
Format = Annotated[str | None, typer.Option(help="Format; detected if left out.")]
Plugins = Annotated[list[Path] | None, typer.Option(help="A plug-in file of yours; may be given several times.")]


def print_json(value: Any) -> None:
    """Print any value that JSON can hold; NaN becomes null."""
    from adaptinf.storage.tables import as_json_text

    print(as_json_text(value))


def calm_transformers() -> None:
    """Turn off the bars and notes of the libraries below; ours say what matters."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    # Deprecations between these libraries are not the user's to mend.
    for library in ("transformers", "peft", "accelerate"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=library)
