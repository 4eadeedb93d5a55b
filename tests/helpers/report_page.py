"""Reads a written page as a browser would: its text, and the data inside of it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Page(HTMLParser):
    """Elements, attributes, text and scripts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self._inside or self._inside[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All words of the page, charts not counted."""
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script works on."""
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "report-data"))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a figure's table."""
        columns = self.data["figures"][table]["columns"]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def missing(self, table: str) -> dict[str, str]:
        """Why runs have no rows in a table."""
        return self.data["figures"][table]["missing"]
