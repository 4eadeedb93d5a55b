"""The tables of what clusters follow, made of the rows that `clusters` has written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adaptinf.results.markdown import markdown_table
from adaptinf.storage import tables

IN_STREAM = "many wordings"
"""The condition that streams have."""
AGREEMENT_FORMS = ("agreement", "wordings")
"""All numbers under IN_STREAM, for each model; or ARI and AMI of joint clusters by the way of asking."""
Row = dict[str, Any]


def table(path: Path, form: str) -> str:
    """Return one table of a result with the source of its numbers."""
    saved = tables.read_json(path)
    rows: list[Row] = saved["rows"]
    made = (
        _by_wording(rows) if form == "wordings" else _in_detail([row for row in rows if row["condition"] == IN_STREAM])
    )
    around, first = saved["environment"], rows[0]
    dtypes = ", ".join(dict.fromkeys(str(row["dtype"]).removeprefix("torch.") for row in rows))
    what = (
        f"{first['samples']} samples of {first['tasks']} tasks, {100 * first['rare_of_all']:.0f} % of them of rare ones"
    )
    return (
        f"\n{markdown_table(made)}\n\nRecords: `benchmarks/results/{path.name}` ({what}; {dtypes}; means over three "
        f"seeds of k-means), made by `python -m benchmarks.real_text clusters` on {around['processor']}, "
        f"{around['threads_per_run']} thread, torch {around['torch']}, transformers {around['transformers']}.\n\n"
    )


def _in_detail(rows: Sequence[Row]) -> list[list[str]]:
    """Return every number of each vector, best first; with the model where there are several."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    head = ["vector", "k-means, ARI / AMI", "joined, ARI / AMI", "AMI with the answer's text", "rare, %"]
    found = [["model", *head] if len(models) > 1 else head]
    for model in models:
        own = [row for row in rows if row["model"] == model]
        for row in sorted(own, key=lambda row: -row["joined_ami"]):
            cells = [
                row["vector"],
                _pair(row["ari"], row["ami"]),
                _pair(row["joined_ari"], row["joined_ami"]),
                f"{row['answer_ami']:.2f}",
                f"{100 * row['rare_share']:.0f}",
            ]
            found.append([model, *cells] if len(models) > 1 else cells)
    return found


def _by_wording(rows: Sequence[Row]) -> list[list[str]]:
    """Return the agreement of joint clusters: one line per vector that was measured in every way of asking."""
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    cells = {
        (row["vector"], row["condition"]): _pair(row["joined_ari"], row["joined_ami"])
        for row in rows
        if row["model"] == rows[0]["model"]
    }
    vectors = [name for name in dict.fromkeys(row["vector"] for row in rows)]
    whole = [name for name in vectors if all((name, condition) in cells for condition in conditions)]
    return [["vector", *conditions], *([name, *(cells[name, one] for one in conditions)] for name in whole)]


def _pair(first: float, second: float) -> str:
    return f"{first:.2f} / {second:.2f}"
