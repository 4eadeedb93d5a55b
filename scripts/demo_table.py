"""Print the demo's table over several seeds as Markdown: mean and range of each column.

adaptinf demo --seed 0 --out runs/demo; adaptinf demo --seed 1 --out runs/demo-1; ...
python scripts/demo_table.py runs/demo/summary.json runs/demo-1/summary.json runs/demo-2/summary.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = {
    "macro": ("accuracy", 100.0),
    "micro": ("micro", 100.0),
    "rare": ("rare", 100.0),
    "common": ("common", 100.0),
    "relative_gain": ("relative gain", 1.0),
    "forgetting_clipped": ("forgetting (clipped)", 1.0),
    "forward_transfer": ("forward transfer", 100.0),
    "samples_trained": ("trained", 1.0),
    "selection_seconds": ("selection, s", 1.0),
    "training_seconds": ("training, s", 1.0),
}
"""Field of a summary -> its heading and what it is multiplied by."""


def table(summaries: Sequence[dict[str, Any]]) -> str:
    """Return one row a method: mean over the summaries, and from the smallest to the largest in brackets."""
    methods = [row["method"] for row in summaries[0]["rows"]]
    lines = ["| method | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |", "|---" * 11 + "|"]
    for method in methods:
        rows = [next(row for row in summary["rows"] if row["method"] == method) for summary in summaries]
        cells = [_cell([row[field] for row in rows], factor) for field, (_, factor) in COLUMNS.items()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(summaries: Sequence[dict[str, Any]]) -> str:
    """Return adapt minus random_replay in points of average accuracy, seed by seed."""
    points = []
    for summary in summaries:
        macro = {row["method"]: 100.0 * row["macro"] for row in summary["rows"]}
        points.append(macro["adapt"] - macro["random_replay"])
    return ", ".join(f"{value:+.1f}" for value in points) + f" (mean {np.mean(points):+.1f})"


def _cell(values: Sequence[float], factor: float) -> str:
    scaled = factor * np.array(values, dtype=np.float64)
    digits = 0 if scaled.max() >= 200 else 1
    low, high = f"{scaled.min():.{digits}f}", f"{scaled.max():.{digits}f}"
    return f"{scaled.mean():.{digits}f}" + ("" if low == high else f" ({low} to {high})")


if __name__ == "__main__":
    read = [json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:]]
    print(table(read))
    print(f"\nadapt minus random_replay, points of average accuracy, seed by seed: {differences(read)}")
