"""The tables of README and docs are what the committed results say."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from adaptinf.results.records import read_records
from benchmarks.mini_liit import EXPERIMENTS, RESULTS

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
assert SPEC and SPEC.loader
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


@pytest.mark.heavy
@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_every_table_of_a_page_is_that_of_its_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tables.page_with_tables(text) == text, "run python scripts/tables.py"
    assert text.count("<!-- table:") == text.count("<!-- end of table") == len(tables.MARKED.findall(text))


def test_a_stale_table_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "table", lambda name, form, **of: f"{name} as {form}, {list(of.values())}\n")
    page = "before\n<!-- table: main short -->\nold\n<!-- end of table -->\nafter\n"
    assert tables.page_with_tables(page) == page.replace("old", "main as short, [None, [], []]")
    page = "<!-- table: b long seeds 0 1 against adapt of adapt\nplus-100 -->\nold\n<!-- end of table -->\n"
    assert tables.page_with_tables(page) == page.replace("old", "b as long, ['adapt', ['adapt', 'plus-100'], [0, 1]]")


def test_a_table_of_some_rows_compares_with_the_row_it_names() -> None:
    rows = ["random_replay", "adapt", "adapt_plus"]
    made = tables.table("main", "short", baseline="adapt", rows=rows)
    lines = [line for line in made.splitlines() if line.startswith("|")]
    assert lines[0].endswith("| against adapt |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| random_replay", "| adapt", "| adapt_plus"]
    assert lines[3].endswith("| – |") and "| +12.0 (" in lines[4] and "(15 runs of " in made
    with pytest.raises(SystemExit, match="has no row adapt_minus; its rows: random_replay,"):
        tables.table("main", "short", rows=["adapt_minus"])
    assert "(6 runs of " in tables.table("main", "short", rows=rows, seeds=[1, 3])


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


def test_a_table_of_the_gate_counts_the_steps_that_were_rolled_back() -> None:
    saved = read_records(RESULTS / "mini-liit-main.json")
    mine = [one for one in saved.records if one.name == "sequential" and one.seed in (0, 1)]
    last = len(mine[0].matrix) - 1
    mine = [mine[1], dataclasses.replace(mine[0], rejected=(2, last))]
    made = tables.gate_table(saved._replace(rows=["sequential"], records=mine), None)
    undone = {record.seed: len(record.rejected) for record in mine}
    assert f"| sequential | 2 | {last} | {undone[0]}, {undone[1]} |" in made and set(undone.values()) == {0, 2}
