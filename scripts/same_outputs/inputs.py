"""What the jobs read: a model with images and one without, datasets with odd rows, tests, and settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from adaptinf.demo.language_model import write_language_model

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "white": (250, 250, 250)}
SHAPES = ("circle", "square")


def write_inputs(base: Path, folder: Path) -> None:
    """Write everything that the jobs read: models, images, datasets, tests and the streams' settings."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(base, part / "base")
    write_language_model(part / "base", part / "text_base")
    _write_images(part / "images")
    for name, rows in {"first": _with_odd_rows(_rows(30, "thing")), "third": _rows(12, "toy", start=100)}.items():
        (part / f"{name}.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    second = [_as_messages(row) for row in _rows(30, "object", start=50)]
    (part / "second.jsonl").write_text("".join(json.dumps(row) + "\n" for row in second), encoding="utf-8")
    for name, word in (("text_first", "thing"), ("text_second", "object")):
        rows = [row for row in _rows(60, word) if "image" not in row]
        (part / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    for skill in ("colours", "sums", "boxes", "repeats"):
        rows = [row for row in _rows(60, "item", start=200) if row["skill"] == skill][:6]
        broken = {"id": "broken", "conversations": []}
        rows = [*rows, broken] if skill == "sums" else rows
        (part / f"test_{skill}.json").write_text(json.dumps(rows), encoding="utf-8")
    _write_settings(part, folder)
    part.rename(folder)


def _write_images(folder: Path) -> None:
    from PIL import Image, ImageDraw

    folder.mkdir()
    for name, colour in COLOURS.items():
        for number, shape in enumerate(SHAPES):
            image = Image.new("RGB", (64, 64 + 16 * number), (90, 90, 90))
            draw = ImageDraw.Draw(image)
            place = (12 + 4 * number, 10, 44, 46)
            (draw.ellipse if shape == "circle" else draw.rectangle)(place, fill=colour)
            image.save(folder / f"{name}_{shape}.png")


def _rows(count: int, word: str, *, start: int = 0) -> list[dict[str, Any]]:
    """Return LLaVA rows of five skills by turns: one image, two images, text alone, several turns, long text."""
    makers = (_colour_row, _sum_row, _box_row, _comparing_row, _repeating_row)
    return [
        {"id": f"{number:03d}", **makers[number % len(makers)](word, number)} for number in range(start, start + count)
    ]


def _colour_row(word: str, number: int) -> dict[str, Any]:
    colour, shape = list(COLOURS)[number // 5 % 4], SHAPES[number // 20 % 2]
    turns = [("human", f"<image>\nColour of {word} {number}?"), ("gpt", colour)]
    if number % 3 == 0:
        turns += [("human", "And its shape?"), ("gpt", shape)]
    return {"skill": "colours", "image": f"{colour}_{shape}.png", "conversations": _turns(turns)}


def _sum_row(word: str, number: int) -> dict[str, Any]:
    other = number % 7
    return {"skill": "sums", "conversations": _turns([("human", f"{number} + {other}?"), ("gpt", f"{number + other}")])}


def _box_row(word: str, number: int) -> dict[str, Any]:
    turns = [("human", f"Where is {word} {number}?\n<image>"), ("gpt", "[16, 10, 44, 46]")]
    return {"skill": "boxes", "image": f"{list(COLOURS)[number % 4]}_square.png", "conversations": _turns(turns)}


def _comparing_row(word: str, number: int) -> dict[str, Any]:
    names = [f"{list(COLOURS)[(number // step) % 4]}_{SHAPES[number % 2]}.png" for step in (1, 5)]
    answer = "same" if names[0] == names[1] else "different"
    turns = [("system", "Be brief."), ("human", f"<image><image>\nSame {word} or not?"), ("gpt", answer)]
    return {"skill": "comparing", "image": names, "conversations": _turns(turns)}


def _repeating_row(word: str, number: int) -> dict[str, Any]:
    text = " ".join(list(COLOURS)[(number + offset) % 4] for offset in range(3 + number % 9))
    return {"skill": "repeats", "task": f"say {word}", "conversations": _turns([("human", text), ("gpt", text)])}


def _turns(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"from": role, "value": text} for role, text in turns]


def _with_odd_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with some that are repaired (a repeated id, an unplaced image, no id) and some that are bad."""
    question, answer = ("human", "Is it bright?"), ("gpt", "yes")
    image = {"image": "white_circle.png"}
    odd: list[dict[str, Any]] = [
        {"id": "000", "conversations": _turns([question, answer])},
        {"id": "unplaced", **image, "conversations": _turns([question, answer])},
        {**image, "conversations": _turns([("human", "<image> Bright?"), answer])},
        {"id": "000", **image, "conversations": _turns([question, answer])},
        {"id": "gone", "image": "gone.png", "conversations": _turns([("human", "<image> Bright?"), answer])},
        {"id": "unanswered", "conversations": _turns([question])},
        {"id": "stranger", "conversations": _turns([("stranger", "?"), answer])},
        {"id": "no_list", "conversations": "none"},
        {"id": "outside", "image": "../base/config.json", "conversations": _turns([("human", "<image>"), answer])},
    ]
    return [*rows[:10], *odd, *rows[10:]]


def _as_messages(row: dict[str, Any]) -> dict[str, Any]:
    """Return a LLaVA row with `messages` and `images`."""
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    images = row.get("image", [])
    return {
        "id": row["id"],
        "skill": row["skill"],
        "messages": [{"role": roles[turn["from"]], "content": turn["value"]} for turn in row["conversations"]],
        "images": images if isinstance(images, list) else [images],
    }


def _write_settings(part: Path, folder: Path) -> None:
    """Write stream.yaml, text.yaml and variants.yaml; `folder` is where the inputs will lie."""

    def test(skill: str, **others: Any) -> dict[str, Any]:
        place = {"path": f"{folder}/test_{skill}.json", "images": f"{folder}/images"}
        return {"skill": skill, **place, "max_new_tokens": 4, **others}

    def dataset(name: str, file: str) -> dict[str, Any]:
        return {"name": name, "path": f"{folder}/{file}", "images": f"{folder}/images"}

    settings: dict[str, Any] = {
        "model": {
            "path": f"{folder}/base", "dtype": "float32", "lora": {"rank": 4, "alpha": 8}, "max_length": 160,
        },
        "stream": [dataset("first", "first.json"), dataset("second", "second.jsonl")],
        "extraction": {"dim": 64, "batch_tokens": 512, "keep": "all"},
        "selection": {"budget": 12},
        "training": {"learning_rate": 1.0e-3, "batch_size": 4, "micro_batch_size": 2, "epochs": 2},
        "pruning": {"cap": 28},
        "evaluation": [
            test("colours"), test("sums", introduced_at="first"), test("boxes", metric="iou"),
            test("repeats", metric="f1", introduced_at="base"),
        ],
        "seed": 3,
    }  # fmt: skip
    text: dict[str, Any] = {
        **settings,
        "model": {**settings["model"], "path": f"{folder}/text_base"},
        "stream": [dataset("text_first", "text_first.json"), dataset("text_second", "text_second.json")],
        "selection": {"budget": 8, "budgets": "root", "choose": "rank_average"},
        "training": {**settings["training"], "tune": "full"},
        "evaluation": [test("sums"), test("repeats", metric="f1")],
    }
    # A benchmark's folder of shared stages; these differ from the stream in one place each.
    variants = {"root": {"method": "adapt", "selection.budgets": "root"}, "capped": {"method": "lite_adapt"}}
    for name, value in {"stream": settings, "text": text, "variants": variants}.items():
        (part / f"{name}.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
