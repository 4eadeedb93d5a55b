"""What several commands share: options and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
