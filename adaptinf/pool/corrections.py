"""The user's corrections of a pool: samples restored after a pruning, excluded or kept, datasets that are withdrawn.

Each correction is a line of a log in the pool's folder with the first step that it applies to. So the pool of an
earlier step stays as it was, and an unfinished step continues with the pool that it started with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptinf.errors import StoreError
from adaptinf.storage import lines, store, verified

RESTORED = "restored.jsonl"
WITHDRAWN = "withdrawn.jsonl"
EXCLUDED = "excluded.jsonl"
KEPT = "kept.jsonl"
CORRECTIONS = {RESTORED: "id", WITHDRAWN: "name", EXCLUDED: "id", KEPT: "id"}
"""Logs of corrections -> the key that says of what."""
UNDONE = "undone"
"""Key of a line of excluded.jsonl that takes an exclusion back."""


@dataclass(frozen=True)
class Exclusion:
    """A sample leaves the pool, or comes back after it was excluded."""

    step: int
    """The first step that it applies to."""
    why: str | None
    """The reason that its user gave, which may be empty; None: the exclusion is taken back."""


def restored_ids(pool_folder: Path, *, until: int | None = None) -> dict[str, int]:
    """Return the restored ids, each with the first step that it applies to; `until` leaves out later steps.

    Raises:
        StoreError: a line is damaged; the message has its line number.
    """
    return _first_steps(pool_folder / RESTORED, until)


def withdrawn_datasets(pool_folder: Path, *, until: int | None = None) -> dict[str, int]:
    """Return the names of withdrawn datasets, each with the first step that it applies to; `until` as above.

    Raises:
        StoreError: a line is damaged; the message has its line number.
    """
    return _first_steps(pool_folder / WITHDRAWN, until)


def kept_ids(pool_folder: Path, *, until: int | None = None) -> dict[str, int]:
    """Return the ids of `selection.keep`, each with the first step that it applies to; `until` as above.

    Raises:
        StoreError: a line is damaged; the message has its line number.
    """
    return _first_steps(pool_folder / KEPT, until)


def excluded_ids(pool_folder: Path, *, until: int | None = None) -> dict[str, Exclusion]:
    """Return the ids that are excluded in a step, `until`, or now, and the exclusion of each.

    Raises:
        StoreError: a line is damaged; the message has its line number.
    """
    now = {id: found[-1] for id, found in exclusions(pool_folder, until=until).items()}
    return {id: one for id, one in now.items() if one.why is not None}


def exclusions(pool_folder: Path, *, until: int | None = None) -> dict[str, list[Exclusion]]:
    """Return every exclusion of each id and what took it back, in order; `until` and errors as above."""
    found: dict[str, list[Exclusion]] = {}
    for id, step, record in _records(pool_folder / EXCLUDED):
        if until is None or step <= until:
            why = None if record.get(UNDONE) else str(record.get("why", ""))
            found.setdefault(id, []).append(Exclusion(step, why))
    return found


def note_restored(pool_folder: Path, ids: Iterable[str], step: int) -> None:
    """Record that samples are back in the pool from `step` on, and not to be pruned again."""
    _note(pool_folder / RESTORED, ({"id": id, "step": step} for id in ids))


def note_withdrawn(pool_folder: Path, name: str, step: int) -> None:
    """Record that a dataset is out of the pool from `step` on."""
    _note(pool_folder / WITHDRAWN, [{"name": name, "step": step}])


def note_excluded(pool_folder: Path, ids: Iterable[str], step: int, why: str) -> None:
    """Record that samples are out of the pool from `step` on."""
    _note(pool_folder / EXCLUDED, ({"id": id, "step": step, "why": why} for id in ids))


def note_included(pool_folder: Path, ids: Iterable[str], step: int) -> None:
    """Record that samples that were excluded are ordinary ones from `step` on."""
    _note(pool_folder / EXCLUDED, ({"id": id, "step": step, UNDONE: True} for id in ids))


def note_kept(pool_folder: Path, ids: Iterable[str], step: int) -> None:
    """Record that `selection.keep` names samples from `step` on."""
    _note(pool_folder / KEPT, ({"id": id, "step": step} for id in ids))


def _note(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    store.append_lines(path, records)


def _first_steps(path: Path, until: int | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for value, step, _ in _records(path):
        if until is None or step <= until:
            found[value] = min(step, found.get(value, step))
    return found


def _records(path: Path) -> list[tuple[str, int, dict[str, Any]]]:
    verified.check_ordinary(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return [_record(line, number, path) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _record(line: str, number: int, path: Path) -> tuple[str, int, dict[str, Any]]:
    key = CORRECTIONS[path.name]
    try:
        record = lines.opened(line)
    except ValueError as error:
        raise StoreError(
            f"{path} line {number} {error}: {line[:80]!r}; bring back a copy, or write the line anew: "
            f'{{"{key}": ..., "step": ...}}'
        ) from error
    try:
        # A line written by hand may have no step: it applies to all steps.
        return str(record[key]), int(record.get("step", 0)), record
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f'{path} line {number} is not {{"{key}": ...}}: {line[:80]!r}; correct or delete the line'
        ) from error
