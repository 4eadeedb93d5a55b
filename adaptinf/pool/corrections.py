"""The user's corrections of a pool: pruned samples that are restored, datasets that are withdrawn.

Each correction is a line of pool/restored.jsonl or pool/withdrawn.jsonl with the first step that it applies to. So the
pool of an earlier step stays as it was, and an unfinished step continues with the pool that it started with.
"""

from __future__ import annotations

from pathlib import Path

from adaptinf.errors import StoreError
from adaptinf.storage import lines, store, verified

RESTORED = "restored.jsonl"
WITHDRAWN = "withdrawn.jsonl"


def restored_ids(pool_folder: Path, *, until: int | None = None) -> dict[str, int]:
    """Return the restored ids, each with the first step that it applies to; `until` leaves out later steps.

    Raises:
        StoreError: a line is damaged; the message has its line number.
    """
    return _first_steps(pool_folder / RESTORED, "id", until)


def withdrawn_datasets(pool_folder: Path, *, until: int | None = None) -> dict[str, int]:
    """Return the names of withdrawn datasets, each with the first step that it applies to; `until` as above.

    Raises:
        StoreError: a line is damaged; the message has its line number.
    """
    return _first_steps(pool_folder / WITHDRAWN, "name", until)


def note_restored(pool_folder: Path, id: str, step: int) -> None:
    """Record that a sample is back in the pool from `step` on."""
    pool_folder.mkdir(parents=True, exist_ok=True)
    store.append_line(pool_folder / RESTORED, {"id": id, "step": step})


def note_withdrawn(pool_folder: Path, name: str, step: int) -> None:
    """Record that a dataset is out of the pool from `step` on."""
    pool_folder.mkdir(parents=True, exist_ok=True)
    store.append_line(pool_folder / WITHDRAWN, {"name": name, "step": step})


def _first_steps(path: Path, key: str, until: int | None) -> dict[str, int]:
    verified.check_ordinary(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    records = [_record(line, number, path, key) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    found: dict[str, int] = {}
    for value, step in records:
        if until is None or step <= until:
            found[value] = min(step, found.get(value, step))
    return found


def _record(line: str, number: int, path: Path, key: str) -> tuple[str, int]:
    try:
        record = lines.opened(line)
    except ValueError as error:
        raise StoreError(
            f"{path} line {number} {error}: {line[:80]!r}; bring back a copy, or write the line anew: "
            f'{{"{key}": ..., "step": ...}}'
        ) from error
    try:
        # A line written by hand may have no step: it applies to all steps.
        return str(record[key]), int(record.get("step", 0))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f'{path} line {number} is not {{"{key}": ...}}: {line[:80]!r}; correct or delete the line'
        ) from error
