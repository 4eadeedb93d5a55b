"""The tables of README and docs are what the committed results say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from adaptinf.compare.records import read_records
from benchmarks.mini_liit import EXPERIMENTS, RESULTS

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
assert SPEC and SPEC.loader
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_every_table_of_a_page_is_that_of_its_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tables.page_with_tables(text) == text, "run python scripts/tables.py"


def test_a_stale_table_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "table", lambda name, form: f"{name} as {form}\n")
    page = "before\n<!-- table: main short -->\nold\n<!-- end of table -->\nafter\n"
    assert tables.page_with_tables(page) == (
        "before\n<!-- table: main short -->\nmain as short\n<!-- end of table -->\nafter\n"
    )


@pytest.mark.parametrize("path", sorted(RESULTS.glob("mini-liit-*.json")), ids=lambda path: path.stem)
def test_a_committed_result_holds_runs_of_its_experiment(path: Path) -> None:
    experiment = EXPERIMENTS[path.stem.removeprefix("mini-liit-")]
    saved = read_records(path)
    settings = {row.name: row.changes for row in experiment.rows}
    assert saved.records and saved.environment["threads_per_run"] == 1
    for record in saved.records:
        assert record.stream == experiment.stream and record.seed in experiment.seeds
        assert record.settings == settings[record.name]
        assert record.made_by["git_sha"] and all(items.scores.size for items in record.items.values())
