"""Hooks of `mkdocs build`: examples/ is part of the site, so that pages can link to its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

EXAMPLES = Path(__file__).parent.parent / "examples"
IN_REPOSITORY, IN_SITE = "](../examples/", "](examples/"


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Add the examples to the site's files."""
    for path in sorted(EXAMPLES.iterdir()):
        if path.is_file():
            files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its links to examples/ as they are in the site; in the repository they point outside docs/."""
    return markdown.replace(IN_REPOSITORY, IN_SITE)
