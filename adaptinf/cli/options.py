"""What several commands share: options and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptinf.errors import ConfigError

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as selection.budget=1000; repeatable."),
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Read files without comparing them with their checksums; recorded.")
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.")]
DataPath = Annotated[str, typer.Argument(help="Dataset: a file, folder, pattern, address (s3://...) or hub name.")]
Subset = Annotated[str | None, typer.Option(help="Which configuration, subfolder or entry of a dataset_info.json.")]
Split = Annotated[str | None, typer.Option(help="Which split, such as train.")]
MaxRows = Annotated[int | None, typer.Option(min=1, help="Take so many rows at random.")]
Images = Annotated[
    list[Path] | None, typer.Option(metavar="FOLDER", help="Folder that image paths are relative to; repeatable.")
]
Format = Annotated[str | None, typer.Option(help="Format; detected if left out.")]
Plugins = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A plug-in file of yours; repeatable.")]
Columns = Annotated[
    str | None,
    typer.Option(metavar="KEY=COLUMN,...", help="Columns of rows in no known format: question=q,answer=a."),
]


def named_columns(text: str | None) -> dict[str, str] | None:
    """Return what `--columns` says: question, answer, image, id or system -> column.

    Raises:
        ConfigError: a part is no KEY=COLUMN, or a key stands there twice.
    """
    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    for key, sign, column in parts:
        if not (key.strip() and sign and column.strip()):
            raise ConfigError(f"--columns {text!r}: expected KEY=COLUMN,... such as question=q,answer=a")
    keys = [key.strip() for key, _, _ in parts]
    if repeated := next((key for key in keys if keys.count(key) > 1), None):
        raise ConfigError(f"--columns {text!r}: {repeated} stands there twice")
    return {key.strip(): column.strip() for key, _, column in parts}
