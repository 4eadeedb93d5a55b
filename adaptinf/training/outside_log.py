"""What an outside trainer says of its training: loss, steps and rows, as far as files and output can be read.

The trainers of Hugging Face, and those built on them, keep a trainer_state.json with each checkpoint and print a
dictionary per logged step; others print lines of JSON.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptinf.models.files import TRAINER_STATE

NAMES = {
    "loss": ("loss",),
    "learning_rate": ("learning_rate", "lr"),
    "grad_norm": ("grad_norm",),
    "epoch": ("epoch",),
    "step": ("step", "global_step", "current_steps", "global_step/max_steps"),
}
"""Number of a record -> what trainers call it."""
_RECORD = re.compile(r"\{[^{}]*\}")
_NOT_FINITE = re.compile(r"(:\s*)(-?(?:nan|inf)\b)")
_EXAMPLES = re.compile(r"Num examples\s*[=:]\s*([\d,]+)")
MAX_LOG_BYTES = 2**28
"""Bytes from the end of a log that are read."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is known of a training that was done elsewhere."""

    log: list[dict[str, float]] = field(default_factory=list)
    """Records with a loss, in order: `loss`, and of `step`, `epoch`, `learning_rate`, `grad_norm` what is there."""
    num_steps: int | None = None
    """Optimiser steps; None: unknown."""
    epochs: float | None = None
    """Passes over the data; None: unknown."""
    num_examples: int | None = None
    """Rows, as the trainer counted them; None: unknown."""


def read_told(folders: Sequence[Path], logs: Sequence[Path]) -> Told:
    """Return what a trainer said: of its newest trainer_state.json below some folders, else of its output.

    Args:
        folders: where it wrote weights and checkpoints.
        logs: its output, one file per attempt, in order.
    """
    texts = [_text(path) for path in logs]
    examples = [found for text in texts for found in _EXAMPLES.findall(text)]
    num_examples = int(examples[-1].replace(",", "")) if examples else None
    printed = _without_repeats([record for text in texts for record in records_in(text)])
    states = [state for folder in folders for path in folder.rglob(TRAINER_STATE) if (state := _state(path))]
    newest = max(states, key=lambda state: state["global_step"], default={})
    history = newest.get("log_history")
    kept = [record for entry in history if (record := _record(entry))] if isinstance(history, list) else []
    # The newest checkpoint may be older than the end of the training.
    log = kept if kept and _end(kept) >= _end(printed) else printed
    epochs = max((_end(log), _number(newest.get("epoch")) or 0.0))
    is_last = bool(newest) and newest["global_step"] >= (_number(newest.get("max_steps")) or 0)
    return Told(
        log=log,
        num_steps=newest["global_step"] if is_last else None,
        epochs=epochs if epochs > 0 else None,
        num_examples=num_examples,
    )


def _end(records: Sequence[dict[str, float]]) -> float:
    """Return the epoch of the last record; 0 where there is none, or it does not say."""
    return records[-1].get("epoch", 0.0) if records else 0.0


def records_in(text: str) -> Iterator[dict[str, float]]:
    """Yield the records with a loss in a trainer's output, in which bars and other texts stand as well."""
    for found in _RECORD.finditer(text):
        if "loss" in found[0] and (record := _record(_parsed(found[0]))):
            yield record


def _parsed(text: str) -> Any:
    """Return a dictionary as Python or JSON writes it; None for another text."""
    text = _NOT_FINITE.sub(r"\1'\2'", text)
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _record(entry: Any) -> dict[str, float]:
    """Return the numbers of one logged step; empty if it has no loss."""
    if not isinstance(entry, dict):
        return {}
    found = {
        name: number
        for name, others in NAMES.items()
        if (number := next((_number(entry[other]) for other in others if other in entry), None)) is not None
    }
    return found if "loss" in found else {}


def _number(value: Any) -> float | None:
    """Return a number, which some trainers write as text, or as `3/10`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value.partition("/")[0] if isinstance(value, str) else value)
    except ValueError:
        return None


def _without_repeats(records: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return the records without those that a later attempt made again, from its checkpoint on."""
    kept: list[dict[str, float]] = []
    for record in records:
        place = "step" if "step" in record else "epoch"
        while kept and place in record and kept[-1].get(place, -math.inf) >= record[place]:
            kept.pop()
        kept.append(record)
    return kept


def _state(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_one = isinstance(found, dict) and isinstance(found.get("global_step"), int)
    return found if is_one else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
