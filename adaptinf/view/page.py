"""The files of the page, which lie in the package, and what a browser may do with them."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "web"
"""The page: HTML, style and modules as they are written, without a build."""
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Suffix -> type of the files of the page."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy: nothing but files of this page's own server, no code in texts."""


def page_file(name: str) -> tuple[str, bytes] | None:
    """Return the type and content of a file of the page; None where it has none of this name."""
    known = {path.name: path for path in FOLDER.iterdir() if path.suffix in TYPES}
    path = known.get(name)
    return None if path is None else (TYPES[path.suffix], path.read_bytes())


def page_files() -> list[Path]:
    """Return the files of the page."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in TYPES)
