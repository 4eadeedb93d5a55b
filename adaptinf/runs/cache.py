"""Stages that several runs of a comparison have in common: the first run computes them, the others link the files.

A shared stage is identified by a hash of everything that its result depends on, so runs share it exactly if each of
them would have computed the same. Files are hard-linked (copied where the file system has no links): a run folder
stays whole when the cache is deleted. That is safe because a finished stage is never changed, only removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

import adaptinf
from adaptinf.config import RunConfig
from adaptinf.errors import StoreError
from adaptinf.runs.stage_keys import ingredients
from adaptinf.storage import lock, store, tables
from adaptinf.storage.inspection import inspect

MADE, COST = "made", "cost.json"
"""Inside the folder of a shared stage: its files, and the seconds and peak memory that they cost."""
COPIED = (".json", ".jsonl", ".yaml", ".txt")
"""Small text files are copied, so that an edit of one run's file changes no other run."""


@dataclass(frozen=True)
class StageCache:
    """The folder of shared stages of a comparison."""

    folder: Path
    """Deleting it costs time, never a result."""

    def place(self, config: RunConfig, step: int, stage: str) -> Path | None:
        """Return where a stage of a run is shared; None for a stage that is the run's own."""
        parts = ingredients(config, step, stage)
        if parts is None:
            return None
        text = tables.as_json_text([adaptinf.__version__, step, stage, parts])
        step_name = "base" if step < 0 else f"{step:02d}"
        return self.folder / f"{step_name}-{stage}-{xxhash.xxh3_64_hexdigest(text.encode())}"

    @contextmanager
    def shared(self, place: Path, target: Path, *, log: Path, key: dict[str, Any]) -> Iterator[None]:
        """Link a shared stage into a run before the block, or from the run into the cache after it.

        The block computes the stage unless its folder exists. One process at a time; the others wait, so nothing is
        computed twice. `key` (step and stage) identifies the cost in the run's `log`.
        """
        if target.exists():
            # Not shared: its arrays may have been removed since (`extraction.keep: last`).
            yield
            return
        with lock.waited_for(place.with_suffix(lock.LOCK_NAME)):
            if place.exists() and (problem := _problem(place)):
                # Made again by the block, so that damage of one run does not spread.
                store.append_line(log, {**key, "event": "shared_damaged", "problem": problem})
                store.discard(place)
            if place.exists():
                # The cost first: if the process is killed in between, it is only written again.
                store.append_line(log, {**key, "event": "end", **tables.read_record(place / COST), "shared": True})
                _bring(place / MADE, target)
            yield
            if not place.exists() and target.exists():
                _give(target, place, _cost(log, key))


def _cost(log: Path, key: dict[str, Any]) -> dict[str, Any]:
    ends = [event for event in store.read_lines(log) if event.get("event") == "end"]
    own = [event for event in ends if all(event.get(name) == value for name, value in key.items())]
    return {name: own[-1][name] for name in ("seconds", "peak_bytes") if name in own[-1]} if own else {}


def _problem(place: Path) -> str | None:
    """Return what is wrong with a shared stage, all of which is read; None where nothing is."""
    try:
        tables.read_record(place / COST)
        problems = inspect(place / MADE).problems
    except StoreError as error:
        return str(error)
    return str(problems[0]) if problems else None


def _bring(made: Path, target: Path) -> None:
    """Link a shared stage's files into a run, whole or not at all."""
    linked_copy(made, store.part_of(target))
    store.complete(target)


def _give(target: Path, place: Path, cost: dict[str, Any]) -> None:
    """Link a run's stage into the shared folder, whole or not at all."""
    part = store.part_of(place)
    linked_copy(target, part / MADE)
    tables.write_json(part / COST, cost)
    store.complete(place)


def linked_copy(source: Path, target: Path) -> None:
    """Make `target` a folder of the same files, linked where that is possible; what stands there is removed."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            _link_or_copy(path, place)


def _link_or_copy(path: Path, place: Path) -> None:
    if path.suffix in COPIED:
        shutil.copyfile(path, place)
        return
    try:
        os.link(path, place)
    except OSError:
        # Another file system, or one without hard links: copy.
        shutil.copyfile(path, place)
