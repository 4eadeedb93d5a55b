"""How results look in a notebook: data frames, HTML of a title and the first and last rows, and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

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


def lines_figure(
    title: str, x: Sequence[Any], lines: Mapping[str, Sequence[float]], *, axes: tuple[str, str]
) -> go.Figure:
    """Return named lines over common places as a figure of plotly, which notebooks show by itself; NaN is a gap.

    Args:
        title: what it shows.
        x: the places.
        lines: name -> a value per place.
        axes: names of the axes.
    """
    # Imported here, so that only programs that show figures wait for plotly.
    import plotly.graph_objects as go

    traces = [
        go.Scatter(x=list(x), y=list(values), name=escape(name), mode="lines+markers") for name, values in lines.items()
    ]
    return _titled(go.Figure(traces), title, axes)


def bars_figure(
    title: str, names: Sequence[str], values: Sequence[float], ends: Sequence[float], *, axes: tuple[str, str]
) -> go.Figure:
    """Return a bar per name with half of its interval; NaN in `ends`: not known."""
    import plotly.graph_objects as go

    bars = go.Bar(x=list(map(escape, names)), y=list(values), error_y={"type": "data", "array": list(ends)})
    return _titled(go.Figure([bars]), title, axes)


def _titled(figure: go.Figure, title: str, axes: tuple[str, str]) -> go.Figure:
    # Plotly takes some tags in texts for markup, links among them.
    figure.update_layout(
        title=escape(title), xaxis_title=axes[0], yaxis_title=axes[1], template="plotly_white", height=380
    )
    return figure
