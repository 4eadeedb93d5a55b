"""Write the tables of README and docs from the committed results of benchmarks, or compare with --check.

In a page, a table is marked by `<!-- table: main short -->` and `<!-- end of table -->`: the name of an experiment and
the form, which is `short` or `long` (as from `adaptinf compare`), `clusters`, `forgetting`, `cost` or `gate`. An
example of a table of some rows and seeds that is compared with another row than random replay:
`<!-- table: variants short seeds 5 6 against adapt of dbp -->`. An experiment of `benchmarks.mini_liit` has its name
alone, one of `benchmarks.real_text` begins with `real-text-`. `<!-- table: clusters-real-text agreement -->` and
`wordings` are the forms of what `benchmarks.real_text clusters` has measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from adaptinf.results.columns import COLUMN, cell, number
from adaptinf.results.markdown import long_table, markdown_table, short_table
from adaptinf.results.records import RunRecord, SavedComparison, read_records
from adaptinf.results.summary import summarise
from adaptinf.results.table import results_table
from benchmarks.real_text import agreement_tables as agreement
from benchmarks.real_text.agreement_tables import AGREEMENT_FORMS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MINI_LIIT, REAL_TEXT = "mini-liit-", "real-text-"
"""First parts of the names of results."""
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKED = re.compile(
    r"(?P<begin><!-- table: (?P<name>[\w-]+) (?P<form>\w+)"
    r"(?: seeds (?P<seeds>[\d ]+?))?(?: against (?P<baseline>[\w-]+))?(?: of (?P<rows>[\w\s-]+?))? -->\n)"
    r".*?(?P<end><!-- end of table -->)",
    re.S,
)


def page_with_tables(text: str) -> str:
    """Return a page with every marked table generated again."""

    def generated(found: re.Match[str]) -> str:
        rows, seeds = (found["rows"] or "").split(), [int(seed) for seed in (found["seeds"] or "").split()]
        made = table(found["name"], found["form"], baseline=found["baseline"], rows=rows, seeds=seeds)
        return f"{found['begin']}{made}{found['end']}"

    return MARKED.sub(generated, text)


def table(
    name: str, form: str, *, baseline: str | None = None, rows: Sequence[str] = (), seeds: Sequence[int] = ()
) -> str:
    """Return the table of an experiment, or of some of its rows and seeds, with the source of its numbers."""
    if form in AGREEMENT_FORMS:
        return agreement.table(RESULTS / f"{name}.json", form)
    path = RESULTS / f"{name if name.startswith(REAL_TEXT) else MINI_LIIT + name}.json"
    saved = read_records(path)
    if strange := {*rows, *([baseline] if baseline else [])}.difference(saved.rows):
        sys.exit(f"{path.name} has no row {', '.join(sorted(strange))}; its rows: {', '.join(saved.rows)}")
    rows = list(rows) or saved.rows
    records = [one for one in saved.records if one.name in rows and (not seeds or one.seed in seeds)]
    saved = saved._replace(rows=rows, records=records)
    return f"\n{FORMS[form](saved, baseline).rstrip()}\n\n{_source(path, saved)}\n\n"


def forgetting_table(saved: SavedComparison, _: str | None) -> str:
    """Return what each row gained and forgot, by every measure."""
    columns = [
        COLUMN[field]
        for field in ("macro", "backward_transfer", "forgetting_signed", "forgetting_clipped", "max_forgetting")
    ]
    rows = [["method", *(column.heading for column in columns)]]
    for name, records in _by_row(saved):
        members = [summarise(record) for record in records]
        rows.append([name, *(cell(column, members) for column in columns)])
    return markdown_table(rows)


def clusters_table(saved: SavedComparison, _: str | None) -> str:
    """Return the agreement of clusters with true skills, the share of rare skills selected, and the accuracies."""
    head = ["method", "ARI, first step", "ARI, last step", "rare among the selected, %", "rare", "common"]
    rows = []
    for name, records in _by_row(saved):
        agreements = _over_steps(records, "agreement")
        share = 100.0 * _over_steps(records, "rare_share").mean()
        members = [summarise(record) for record in records]
        cells = [f"{value:.2f}" if np.isfinite(value) else "–" for value in agreements[[0, -1]]]
        rows.append([name, *cells, number(share), *(cell(COLUMN[field], members) for field in ("rare", "common"))])
    return markdown_table([head, *rows])


def cost_table(saved: SavedComparison, _: str | None) -> str:
    """Return the accuracies of each row, and what the selection of the last step cost, as a share of the first row's.

    Shares are means over the seeds that both rows have, each of the two runs of one seed.
    """
    head = [
        "method",
        "macro",
        "rare",
        "seeds",
        "last step: rows measured, %",
        "selection, s",
        "selection, % of the first",
    ]
    found, rows = _by_row(saved), []
    first = {record.seed: record.steps[-1].selection_seconds for record in found[0][1]} if found else {}
    for name, records in found:
        last = [record.steps[-1] for record in records]
        measured = [100.0 * (step.pool if step.measured is None else step.measured) / step.pool for step in last]
        shares = [
            100.0 * step.selection_seconds / first[record.seed]
            for record, step in zip(records, last, strict=True)
            if first.get(record.seed)
        ]
        members = [summarise(record) for record in records]
        seconds = [step.selection_seconds for step in last]
        means = (number(float(np.mean(one))) if one else "–" for one in (measured, seconds, shares))
        cells = [cell(COLUMN["macro"], members), cell(COLUMN["rare"], members), str(len(records))]
        rows.append([name, *cells, *means])
    return markdown_table([head, *rows])


def gate_table(saved: SavedComparison, _: str | None) -> str:
    """Return how many steps the gate has rolled back in each run, and what the newest accepted model can do."""
    columns = [COLUMN[field] for field in ("macro", "rare", "forgetting_signed")]
    rows = [["method", "seeds", "steps", "rolled back in each run", *(column.heading for column in columns)]]
    for name, records in _by_row(saved):
        members = [summarise(record) for record in records]
        steps = ", ".join(sorted({str(len(record.steps)) for record in records}))
        undone = ", ".join(str(len(record.rejected)) for record in sorted(records, key=lambda one: one.seed))
        rows.append([name, str(len(records)), steps, undone, *(cell(column, members) for column in columns)])
    return markdown_table(rows)


def _by_row(saved: SavedComparison) -> list[tuple[str, list[RunRecord]]]:
    """Return the rows that have runs, in order, with their runs."""
    found = [(name, [record for record in saved.records if record.name == name]) for name in saved.rows]
    return [(name, records) for name, records in found if records]


def _over_steps(records: Sequence[RunRecord], field: str) -> np.ndarray:
    """Return the mean over runs of a field of each step; NaN where a step has no such value."""
    values = [[getattr(step, field) for step in record.steps] for record in records]
    means: np.ndarray = np.array(values, dtype=np.float64).mean(axis=0)
    return means


FORMS: dict[str, Callable[[SavedComparison, str | None], str]] = {
    "short": lambda saved, baseline: short_table(results_table(saved.records, saved.rows, baseline)),
    "long": lambda saved, baseline: long_table(results_table(saved.records, saved.rows, baseline)),
    "clusters": clusters_table,
    "forgetting": forgetting_table,
    "cost": cost_table,
    "gate": gate_table,
}
"""Form of a table -> function that writes it."""


def _source(path: Path, saved: SavedComparison) -> str:
    around = saved.environment
    streams = ", ".join(sorted({record.stream for record in saved.records}))
    models = ", ".join(sorted({record.model for record in saved.records}))
    commits = ", ".join(sorted({str(record.made_by.get("git_sha"))[:7] for record in saved.records}))
    name = path.stem.removeprefix(MINI_LIIT).removeprefix(REAL_TEXT)
    made_by = f"real_text run {name}" if path.stem.startswith(REAL_TEXT) else f"mini_liit {name}"
    return (
        f"Records: `benchmarks/results/{path.name}` ({len(saved.records)} runs of {streams}; bases {models}), made by "
        f"`python -m benchmarks.{made_by}` on {around['processor']}, "
        f"{around['cores']} cores, {around['threads_per_run']} thread per run, Python {around['python']}, torch "
        f"{around['torch']}, transformers {around['transformers']}, commits {commits}."
    )


def main() -> None:
    """Write the tables, or list the pages that are not up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is not up to date")
    args = parser.parse_args()
    pages = {page: page.read_text(encoding="utf-8") for page in PAGES}
    stale = {page: new for page, text in pages.items() if (new := page_with_tables(text)) != text}
    for page, text in stale.items():
        print(page.relative_to(ROOT))
        if not args.check:
            page.write_text(text, encoding="utf-8")
    if stale and args.check:
        sys.exit("the pages above do not match the results; run python scripts/tables.py")


if __name__ == "__main__":
    main()
