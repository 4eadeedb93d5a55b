"""A small stream on disk, for tests of whole runs: coloured images with a question, and questions without."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from tests.helpers.conversations import BASE_PATH

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "white": (250, 250, 250)}
SETTINGS: dict[str, Any] = {
    "model": {"path": str(BASE_PATH), "dtype": "float32", "lora": {"rank": 4, "alpha": 8}, "max_length": 256},
    "extraction": {"dim": 64, "batch_tokens": 512},
    "clustering": {"clusters": 3},
    "selection": {"method": "adapt", "budget": 8},
    "training": {"tune": "full", "learning_rate": 1.0e-3, "batch_size": 2, "micro_batch_size": 2},
    "pruning": {"cap": 16},
    "seed": 3,
}
"""A run of seconds."""


def row(number: int, question: str, answer: str, *, skill: str, image: str | None = None) -> dict[str, Any]:
    """Return one LLaVA row."""
    tag = "<image>\n" if image else ""
    turns = [{"from": "human", "value": tag + question}, {"from": "gpt", "value": answer}]
    return {"id": f"{number:03d}", "skill": skill, "conversations": turns, **({"image": image} if image else {})}


def rows(count: int, *, images: bool = True, word: str = "thing") -> list[dict[str, Any]]:
    """Return rows of two skills by turns: colours (with an image, unless there are none) and sums."""
    names = list(COLOURS)
    found = []
    for number in range(count):
        colour = names[number % 4]
        if number % 2:
            found.append(row(number, f"{word} {number} + {number % 5}?", str(number + number % 5), skill="sums"))
        else:
            image = f"{colour}.png" if images else None
            found.append(row(number, f"Colour of {word} {number}?", colour, skill="colours", image=image))
    return found


def write_images(folder: Path) -> None:
    """Write one image per colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (64, 64), colour).save(folder / f"{name}.png")


def write_dataset(folder: Path, name: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Write a dataset with its images, and return its entry for `stream:`."""
    write_images(folder / "images")
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return {"name": name, "path": str(folder / f"{name}.json"), "images": str(folder / "images")}


def in_rows(folder: Path, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows that hold the images that they name, which are in `folder`, by turns in each of three ways."""
    held: list[dict[str, Any]] = []
    for row in content:
        if "image" in row:
            text = base64.b64encode((folder / row["image"]).read_bytes()).decode()
            ways = ({"bytes": text, "path": row["image"]}, text, f"data:image/png;base64,{text}")
            row = {**row, "image": ways[len(held) // 2 % 3]}
        held.append(row)
    return held


def write_test(folder: Path, skill: str, content: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    """Write a test file, and return its entry for `evaluation:`."""
    entry = write_dataset(folder, f"test_{skill}", content)
    return {"skill": skill, "path": entry["path"], "images": entry["images"], "max_new_tokens": 3, **others}


def write_stream(
    path: Path, datasets: list[dict[str, Any]], tests: list[dict[str, Any]] | None = None, **changes: Any
) -> Path:
    """Write stream.yaml with SETTINGS; `changes` are merged into its sections. Return its path."""
    settings: dict[str, Any] = {**SETTINGS, "stream": datasets, "evaluation": tests or []}
    for key, value in changes.items():
        settings[key] = {**settings.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path
