"""A stream of tiny datasets whose skills have the scores that a test wants after each step, by a harness that obeys."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers.streams import rows, write_dataset, write_stream

SCRIPT = r"""
import json, pathlib, sys
here = pathlib.Path(__file__).parent
arguments = dict(word.split("=", 1) for word in sys.argv[1:])
plan = json.loads((here / "plan.json").read_text())[arguments["skill"]]
found = plan[int(arguments["step"]) + 1]
folder = pathlib.Path(arguments["output"]) / "model"
folder.mkdir()
scores = found if isinstance(found, list) else None
mean = sum(scores) / len(scores) if scores else found
result = {
    "results": {"task": {"alias": "task", "acc,none": mean}},
    "n-samples": {"task": {"original": len(scores or [1]), "effective": len(scores or [1])}},
    "versions": {"task": "Yaml"},
    "configs": {"task": {"task": "task", "metadata": [{"version": 0.0}]}},
    "higher_is_better": {"task": {"acc": True}},
    "lmms_eval_version": "0.7.3",
}
(folder / "20261128_070000_results.json").write_text(json.dumps(result))
if scores:
    with open(folder / "20261128_070000_samples_task.jsonl", "w") as file:
        for number, score in enumerate(scores):
            line = {"doc_id": number, "input": f"Question {number}?", "target": str(number), "acc": score}
            file.write(json.dumps({**line, "filtered_resps": "x"}) + "\n")
"""

Plan = Mapping[str, Sequence[Sequence[float] | float]]
"""Skill -> for the base model and each step the scores of its items, or one number where the items are not known."""


def items(right: int, num_items: int = 40) -> list[float]:
    """Return the scores of items of which the first ones are right."""
    return [1.0] * right + [0.0] * (num_items - right)


def write_gated_stream(
    folder: Path, plan: Plan, *, gate: Mapping[str, Any] | None, num_steps: int = 2, **changes: Any
) -> Path:
    """Write stream.yaml with datasets d0, d1, ..., whose skills get the planned scores. Return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gated_harness.py").write_text(SCRIPT, encoding="utf-8")
    replan(folder, plan)
    command = f"'{sys.executable}' '{folder / 'gated_harness.py'}' output={{output}} merged={{merged}} step={{step}}"
    tests = [
        {"skill": skill, "command": f"{command} skill={skill}", "reads": "lmms_eval", "introduced_at": "base"}
        for skill in plan
    ]
    datasets = [
        write_dataset(folder, f"d{step}", rows(6, images=False, word=f"thing{step}")) for step in range(num_steps)
    ]
    settings: dict[str, Any] = {
        "selection": {"method": "random_replay", "budget": 4},
        "training": {"tune": "lora", "learning_rate": 1.0e-2},
        **changes,
    }
    if gate is not None:
        settings["evaluation_gate"] = dict(gate)
    return write_stream(folder / "stream.yaml", datasets, tests, **settings)


def replan(folder: Path, plan: Plan) -> None:
    """Change what the harness of a stream will say."""
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
