"""How tables look in a notebook: data frames, and HTML of a title and the first and last rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 10
"""Rows of a table in a notebook; of a longer one the first and last five."""


def as_frame(columns: Mapping[str, Any], *, index: Sequence[Any] | None = None, index_name: str = "") -> pd.DataFrame:
    """Return named columns of equal length as a data frame, without copying them.

    Args:
        columns: name -> values.
        index: labels of the rows; None: their numbers.
        index_name: name of the index.
    """
    # Imported here, so that only programs that show tables wait for pandas.
    import pandas as pd

    labels = None if index is None else pd.Index(index, name=index_name or None)
    return pd.DataFrame(dict(columns), index=labels, copy=False)


def as_html(title: str, *frames: pd.DataFrame, max_rows: int | None = SHOWN_ROWS) -> str:
    """Return a paragraph and tables below it, each cut to `max_rows` rows (None: whole)."""
    tables = "".join(
        frame.to_html(max_rows=max_rows, show_dimensions=max_rows is not None and len(frame) > max_rows)
        for frame in frames
    )
    return f"<p>{escape(title)}</p>{tables}"
