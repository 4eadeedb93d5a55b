"""A folder of small tasks as Natural Instructions has them, made of numbers and names."""

from __future__ import annotations

import json
from pathlib import Path

THINGS = ("lamp", "river", "piano", "garden", "window", "engine", "mirror", "basket", "ladder", "button")


def write_tasks(folder: Path, *, num_tasks: int = 7, num_items: int = 30) -> Path:
    """Write tasks in all three layouts that are read, and return the folder.

    Tasks of even number ask for one word, the others for a sentence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_tasks):
        name = f"task{900 + number}_made_up"
        rows = [
            {
                "id": f"{name}-{item}",
                "input": f"{thing} {item} of part {number} lies beside the {other} {number * item}",
                "output": [thing if number % 2 == 0 else f"it is by the {other} {item}"],
            }
            for item in range(num_items)
            for thing, other in [(THINGS[item % 10], THINGS[(item * 3 + number) % 10])]
        ]
        _write(folder, name, number % 3, f"Do part {number} of the work. Answer briefly.", rows)
    return folder


def _write(folder: Path, name: str, layout: int, definition: str, rows: list[dict[str, object]]) -> None:
    if layout == 0:
        text = json.dumps({"Definition": [definition], "Instances": rows})
        (folder / f"{name}.json").write_text(text)
    elif layout == 1:
        (folder / name).mkdir()
        for file, part in (("train", rows[5:]), ("test", rows[:5])):
            text = json.dumps({"Definition": definition, "Instances": part})
            (folder / name / f"{file}.json").write_text(text)
    else:
        (folder / f"{name}.json").write_text(json.dumps({"task": name, "definition": definition}))
        lines = [json.dumps({"input": row["input"], "outputs": row["output"]}) for row in rows]
        (folder / f"{name}.train.jsonl").write_text("\n".join(lines) + "\n")
