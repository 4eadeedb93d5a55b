"""Real tiny runs, with hostile words in answers, ids, skills and a source name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from adaptinf import config as configuration
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from tests.helpers.streams import row, rows, write_dataset, write_stream, write_test

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
BOLD = "<b>bold</b>"
HOSTILE = (SCRIPT, IMAGE)
FORMULA = "=1+1"
CONTROLS = "nul \x00, escape \x1b[31m, cancel \x18?"


@contextmanager
def accepted_renaming() -> Iterator[None]:
    """Let commands work on runs whose datasets were renamed in the pool, which they refuse otherwise."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("adaptinf.runs.check_own_config", lambda *_: None)
        patched.setattr("adaptinf.report.facts.check_datasets", lambda _: None)
        yield


def hostile_rows() -> list[dict[str, Any]]:
    """Return rows whose words are markup: every one of them is typical, chosen or pruned somewhere on the page."""
    found = []
    for number in range(16):
        colour = ("red", "green", "blue", "white")[number % 4]
        question = {3: FORMULA, 5: f"{CONTROLS} {IMAGE}"}.get(number, f"Is {IMAGE} {colour}?")
        one = row(number, question, SCRIPT, skill=(SCRIPT, BOLD)[number % 2], image=f"{colour}.png")
        found.append({**one, "id": f"{IMAGE}{number}"})
    return found


def make_runs(folder: Path, *, methods: tuple[str, ...], **changes: Any) -> dict[str, Path]:
    """Return a finished run folder a method, over two datasets with two skills."""
    first, second = write_dataset(folder, "one", rows(24)), write_dataset(folder, "two", hostile_rows())
    tests = [
        write_test(folder, "colours", rows(6)[::2], introduced_at="one"),
        write_test(folder, SCRIPT.replace("/", "_"), rows(6)[::2], introduced_at="two") | {"skill": SCRIPT},
    ]
    found = {}
    for method in methods:
        own = {**changes, "selection": {"method": method, **changes.get("selection", {})}}
        config = configuration.load(write_stream(folder / f"{method}.yaml", [first, second], tests, **own))
        found[method] = folder / method
        run_all(Run.create(folder / method, config))
    return found


def reconfigure(folder: Path, **changes: Any) -> None:
    """Change sections of a run's config.yaml."""
    path = folder / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(settings))
