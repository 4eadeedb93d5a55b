"""Carry out the attack and write its table: `python -m tests.chaos --seed 0`."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatchcase
from itertools import zip_longest
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

from tests.chaos import disk, flips, hostile, inputs, kills, losses, mutations, pairs, table  # noqa: E402
from tests.chaos.judging import Case, Judged, Verdict  # noqa: E402
from tests.chaos.runs import Workshop, make  # noqa: E402

SLOW = ("run", "report", "compare")
"""Commands that take a second or more."""
SIZES = {
    "flip": (740, 30),
    "damaged file": (60, 30),
    "kill": (10, 8),
    "folder deleted": (12, 12),
    "two commands at once": (999, 999),
}
"""Kind of row -> its tries in the attack of docs/robustness.md, and those of a row with a slow command."""
SIZE = 12
"""Of other rows."""
IMPORTED = (
    "adaptinf.cli", "adaptinf.cli.console_tables", "adaptinf.cli.progress", "adaptinf.cli.sample_text",
    "adaptinf.compare", "adaptinf.doctor", "adaptinf.evaluation.generation", "adaptinf.pipeline",
    "adaptinf.report.page", "adaptinf.report.rendering", "adaptinf.runs.learners", "datasets", "peft",
    "transformers.models.llava", "transformers.models.llama",
)  # fmt: skip
"""What a try would otherwise import again."""
ATTACKS = {
    module.__name__.rpartition(".")[2]: module.cases
    for module in (kills, flips, losses, disk, inputs, hostile, mutations, pairs)
}
"""Name of each kind of attack -> its cases."""


def main() -> int:
    """Return the exit code: 0 if every try held, 1 otherwise."""
    begun, given = time.monotonic(), _arguments()
    _import_all()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    try:
        workshop = make(folder, _say)
        cases = chosen(list(all_cases(workshop, given.attacks)), given)
        tried = list(_carry_out(workshop, cases, given))
        _say(f"{len(tried):,} tries in {time.monotonic() - begun:.0f} s")
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    rows = table.rows_of(tried)
    print(table.as_markdown(rows))
    if given.json:
        given.json.write_text(json.dumps(tried), encoding="utf-8")
    if given.write:
        table.write_page(rows, sys.argv[1:], time.monotonic() - begun)
    return int(any(item["verdict"] != Verdict.HELD for item in tried))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names of cases, or patterns, to carry out these alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="kinds of attack, separated by commas")
    parser.add_argument("--per-row", type=int, help="tries of each row, drawn at random; SIZES if left out")
    parser.add_argument(
        "--seconds", type=float, help="no try begins so long after the first, and none that takes long at all"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="file for what was tried, and how it ended")
    parser.add_argument("--write", action="store_true", help="write docs/robustness.md")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the tries")
    return parser.parse_args()


def _import_all() -> None:
    import torch

    # A process with threads of its own cannot be forked from.
    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)


def all_cases(workshop: Workshop, attacks: str) -> Iterator[Case]:
    """Yield every case of some kinds of attack."""
    for name in attacks.split(","):
        yield from ATTACKS[name](workshop)


def chosen(cases: list[Case], given: Any) -> list[Case]:
    """Return the cases that were asked for: by name, or a number of each row of the table, drawn at random.

    All rows are begun before any row gets its second case.
    """
    if given.cases:
        return [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in given.cases)]
    Random(given.seed).shuffle(cases)
    by_row: dict[str, list[Case]] = {}
    for case in cases:
        if not (case.is_long and given.seconds):
            by_row.setdefault(case.attack, []).append(case)
    rows = [row[: given.per_row or size_of(attack)] for attack, row in by_row.items()]
    rounds = zip_longest(*rows)
    return [case for round in rounds for case in round if case is not None]


def size_of(attack: str) -> int:
    """Return the tries of a row of the table."""
    kind, _, command = attack.partition(", ")
    return SIZES.get(kind, (SIZE, SIZE))[command in SLOW]


def _carry_out(workshop: Workshop, cases: list[Case], given: Any) -> Iterator[dict[str, str]]:
    """Yield the attack, name, verdict and reason of each case, in processes forked from this one."""
    waiting.extend(cases)
    is_late = time.monotonic() + given.seconds if given.seconds else math.inf
    # All of its processes are forked before its thread starts; and they may have children, unlike those of a Pool.
    with ProcessPoolExecutor(max(1, min(given.workers, len(cases))), get_context("fork")) as pool:
        tasks = [
            pool.submit(_try, workshop, number, given.seed, len(cases) == 1, is_late) for number in range(len(cases))
        ]
        for task in as_completed(tasks):
            item = task.result()
            if item and item["verdict"] != Verdict.HELD:
                _say(
                    f"{item['verdict']}: {item['why']}\n    python -m tests.chaos --seed {given.seed} {item['name']!r}"
                )
            if item:
                yield item


waiting: list[Case] = []
"""The cases, which forked processes have in common with this one."""


def _try(workshop: Workshop, number: int, seed: int, is_alone: bool, is_late: float) -> dict[str, str] | None:
    """Carry out one case, unless it is too late to begin."""
    if time.monotonic() > is_late:
        return None
    case = waiting[number]
    scratch = workshop.scratch / str(number)
    scratch.mkdir(parents=True)
    try:
        found = case.do(scratch, Random(f"{seed}/{case.name}"))
    except Exception as error:  # one broken try must not end all others
        found = Judged(Verdict.TRACEBACK, f"the try itself: {error!r}")
    if is_alone:
        for path in sorted(scratch.rglob("said*/std*")):
            _say(f"--- {path.parent.name}/{path.name}\n{path.read_bytes().decode(errors='backslashreplace')}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"attack": case.attack, "name": case.name, "verdict": found.verdict, "why": found.why}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
