"""Reading tasks: Natural Instructions (v2) as its authors publish it, or as continual-learning benchmarks split it.

    FOLDER/task123_name.json                       one task: `Definition` and `Instances` (allenai/natural-instructions)
    FOLDER/task123_name/train.json, test.json      the same, split (circle-hit/SAPT, CL_Benchmark/SuperNI)
    FOLDER/task123_name.json with *.train.jsonl, *.test.jsonl beside it: `definition`, and rows of `input`, `outputs`

A split that comes with the files is not used: `splits` makes one by content, for all tasks in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptinf.errors import DataError
from adaptinf.words import shortened
from benchmarks.real_text.content import normalised

VALUE_CHARACTERS = 80
"""Of a value that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One input with its allowed answers."""

    input: str
    """What is asked about."""
    answers: tuple[str, ...]
    """At least one; the first is learnt."""

    @property
    def content(self) -> str:
        """What makes two items the same: letters and digits of the input."""
        return normalised(self.input)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: what is asked, and its items without repetitions."""

    name: str
    """Its file or folder."""
    definition: str
    """The instruction of its authors."""
    items: tuple[Item, ...]
    """In the order of the files; of items with the same content the first."""
    num_repeated: int
    """Items that were left out because their content had come before."""
    num_empty: int
    """Rows that were left out because the input or every answer is empty."""


def read_tasks(folder: Path) -> list[Task]:
    """Return the tasks of a folder, ordered by name.

    Raises:
        DataError: the folder has no task, or a file of one cannot be read as one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; name one with tasks of Natural Instructions (docs/real-text.md)")
    files: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.jsonl"), *folder.glob("*/*.json")]):
        name = path.parent.name if path.parent != folder else path.name.split(".")[0]
        files.setdefault(name, []).append(path)
    tasks = [task for name, paths in files.items() if (task := _task(name, paths)) is not None]
    if not tasks:
        raise DataError(
            f"{folder} has no task: no file with a definition and items (docs/real-text.md says where from)"
        )
    return tasks


def _task(name: str, paths: Sequence[Path]) -> Task | None:
    """Return the task of its files; None where none of them has a definition, so they are something else."""
    definition, rows = "", list[tuple[str, Any]]()
    for path in paths:
        found, more = _content(path)
        definition = definition or found
        rows += more
    if not definition:
        return None
    items: dict[str, Item] = {}
    num_empty = 0
    for where, row in rows:
        item = _item(row, where)
        if item is None:
            num_empty += 1
        else:
            items.setdefault(item.content, item)
    if not items:
        raise DataError(
            f"{paths[0]} has a definition and no item with an input and an answer; remove it, or complete it"
        )
    repeated = len(rows) - num_empty - len(items)
    return Task(
        name=name, definition=definition, items=tuple(items.values()), num_repeated=repeated, num_empty=num_empty
    )


# Any: the rows of a file may be anything until `_item` has checked them.
def _content(path: Path) -> tuple[str, list[tuple[str, Any]]]:
    """Return the definition in a file, empty if it has none, and its rows with the place of each."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            lines = [
                (f"{path}, line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()
            ]
            return "", [(where, json.loads(line)) for where, line in lines]
        value = json.loads(text)
    except (OSError, ValueError) as error:  # of a text that is no UTF-8 as well
        raise DataError(
            f"{path} cannot be read as JSON ({shortened(str(error), VALUE_CHARACTERS)}); repair it"
        ) from None
    if not isinstance(value, Mapping):
        return "", []
    said = value.get("Definition", value.get("definition", ""))
    definition = " ".join(map(str, said)) if isinstance(said, list) else str(said)
    rows = value.get("Instances", [])
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: Instances is {shortened(repr(rows), VALUE_CHARACTERS)}, not a list of rows; repair it"
        )
    return definition.strip(), [(f"{path}, item {number}", row) for number, row in enumerate(rows, 1)]


def _item(row: Any, where: str) -> Item | None:
    """Return a row as an item; None if its input or all of its answers are empty."""
    if not isinstance(row, Mapping) or not isinstance(row.get("input"), str):
        raise DataError(f"{where} is {shortened(repr(row), VALUE_CHARACTERS)}, without a text `input`; repair the file")
    answers = tuple(_answers(row.get("output", row.get("outputs")), where))
    return Item(input=row["input"].strip(), answers=answers) if row["input"].strip() and answers else None


def _answers(value: Any, where: str) -> Iterator[str]:
    """Yield the answers that are not empty, blanks around them removed."""
    for answer in [value] if isinstance(value, str) else value if isinstance(value, list) else [None]:
        if not isinstance(answer, str):
            raise DataError(
                f"{where}: the output is {shortened(repr(value), VALUE_CHARACTERS)}, not text; repair the file"
            )
        if answer.strip():
            yield answer.strip()
