"""Plug-in files of a run whose code has changed between its steps: noted, as a user may correct them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adaptinf.runs import Run
from adaptinf.runs.events import note_plugin
from adaptinf.storage.digests import file_digest


def plugin_digests(run: Run) -> dict[str, str]:
    """Return path -> hash of the content of each plug-in file; what such a file imports is not looked at."""
    return {path: file_digest(Path(path)) for path in run.config.plugins if Path(path).is_file()}


def note_changed_plugins(run: Run, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Report each plug-in file whose code differs, and append that to events.jsonl; a moved file is the same one."""
    gone = {Path(path).name: digest for path, digest in before.items() if path not in now}
    for path, digest in now.items():
        former = before.get(path) or gone.get(Path(path).name)
        if former is not None and former != digest:
            run.progress.note(f"note: the code of {path} is another one from step {run.num_finished} on")
            note_plugin(run.events_file, run.num_finished, path, former, digest)
