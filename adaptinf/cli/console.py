"""How results look in a terminal: plain tables that also read well in a log file."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from adaptinf.cli.output import say
from adaptinf.words import counted, escaped, format_bytes, format_seconds, shortened

if TYPE_CHECKING:
    from adaptinf.doctor.dataset import Findings, TokenLengths
    from adaptinf.doctor.machine import Check, Checkup
    from adaptinf.registry.listing import PluginList
    from adaptinf.runs.status import Status, StepStatus
    from adaptinf.runs.tested import NewestTest
    from adaptinf.select_files import Chosen

NUMERIC = "-−–+<0123456789"
"""What a cell with a number begins with, or one that has none."""
SHOWN_ROWS = 30
"""Findings that `validate` lists before it only counts."""
SHOWN_SKILLS = 50
"""Skills that `validate` names, the most frequent ones."""
SHOWN_NAME = 80
"""Characters of a name from the data that are shown."""
SHOWN_ANSWER = 300
"""Characters of an answer that are shown."""

SHOWN_IDS = 3
"""Ids that a line names as examples."""
LEAST_POINTS = 0.05
"""A smaller change of an accuracy is none."""
SHOWN_STEPS = 10
"""Steps that a line names."""


def show_findings(findings: Findings) -> None:
    """Print what `validate` found."""
    images = ", ".join(f"{number:,} with {count}" for count, number in sorted(findings.num_images.items()))
    counts = f"{counted(findings.num_samples, 'sample')}, {counted(findings.num_turns, 'answer')}"
    say(f"{findings.path}: {counts}; images: {images or 'none'}")
    say(f"format: {findings.format}")
    if findings.num_allowed:
        allowed = ", ".join(f"{number:,} with {count}" for count, number in sorted(findings.num_allowed.items()))
        say(f"allowed answers of test items: {allowed}")
    skills = [f"{shortened(name, SHOWN_NAME)} {number:,}" for name, number in findings.skills.most_common(SHOWN_SKILLS)]
    more = f" and {len(findings.skills) - SHOWN_SKILLS:,} more" if len(findings.skills) > SHOWN_SKILLS else ""
    if skills:
        say(f"skills: {', '.join(skills)}{more}")
    if findings.tokens is not None and findings.tokens.measured:
        _show_tokens(findings.tokens)
    if findings.columns:
        say(f"columns with numbers, for selection.scorers: [column:NAME]: {findings.columns_line}")
    say(f"{len(findings.repaired):,} repaired")
    say(f"{len(findings.rejected) + findings.num_refused:,} rejected")
    if findings.findings:
        rows = [[one.finding, f"{one.rows:,}", one.example, one.advice] for one in findings.findings]
        print_table([["finding", "rows", "example", "what to do"], *rows[:SHOWN_ROWS]])
    if len(findings.findings) > SHOWN_ROWS:
        say(f"... and {len(findings.findings) - SHOWN_ROWS:,} more (--json lists all)")
    _show_verdict(findings)


def _show_verdict(findings: Findings) -> None:
    """Print what keeps the dataset from being used as a whole."""
    rejected = findings.rejected
    if findings.broken is not None:
        read = counted(findings.broken.row, "row")
        say(f"the file cannot be read to its end: {read} read, then {findings.broken.reason}")
    elif not findings.num_learnable:
        say("nothing would be learnt: no row can be used")
    num_missing = sum(row.reason.endswith("is missing") for row in findings.rejected)
    if 2 * num_missing > findings.num_samples + len(rejected):
        say("most images are missing: name the folder that their paths start from with --images")


def _show_tokens(tokens: TokenLengths) -> None:
    say(f"tokens: median {tokens.median}, 95 % below {tokens.p95}, longest {tokens.longest}")
    say(f"first answer as the model learns it: {shortened(tokens.first_answer or '', SHOWN_ANSWER)!r}")
    if not tokens.learns_to_stop:
        say("warning: the answer does not end with an end token; the model will not learn to stop")


def show_status(found: Status) -> None:
    """Print a run's state."""
    has_tolerant = any(step.average_tolerant is not None for step in found.steps)
    tolerant = ["tolerant"] if has_tolerant else []
    header = ["step", "dataset", "rows", "rejected", "state", "pool after", "accuracy", *tolerant, "time"]
    cap = "no pool cap" if found.cap is None else f"pool cap {found.cap:,}"
    say(f"{found.folder}: {found.method}, budget {found.budget:,}, {cap}", _state_line(found))
    print_table([header, *(_step_cells(step, found, has_tolerant=has_tolerant) for step in found.steps)])
    left = found.seconds_left
    time_left = "" if left is None or not found.steps_waiting else f", about {format_seconds(left)} left"
    say(f"{counted(found.steps_finished, 'step')} finished, {found.steps_waiting} waiting{time_left}")
    say(*_accuracy_lines(found))
    say(f"pool {counted(found.pool, 'sample')}{_corrected(found)}; {format_bytes(found.disk_bytes)} on disk")
    say(*found.composition_lines())
    for line in found.accepted:
        say(f"accepted: {line}")
    say(*_gate_lines(found))
    for path in found.logs:
        say(f"log of a test: {found.folder / path}")
    if found.newest_test is not None:
        say(*_test_lines(found.newest_test))
    for step in found.steps:
        if step.unusable:
            rows = counted(step.unusable, "sample")
            say(f"step {step.step}: {rows} not selectable, as the model can learn no answer of them")


def _accuracy_lines(found: Status) -> Iterator[str]:
    """Yield what the last tested step gained or lost on the mean, and what the column is."""
    tested = [(step.step, step.average_accuracy) for step in found.steps if step.average_accuracy is not None]
    if len(tested) > 1:
        (before, earlier), (last, now) = tested[-2:]
        points = 100.0 * (now - earlier)
        change = "as" if abs(points) < LEAST_POINTS else f"{abs(points):.1f} {'gained' if points > 0 else 'lost'} since"
        what = "accuracy: % of test answers in the right form, mean over skills"
        yield f"step {last}: accuracy {_percent(now)}, {change} step {before} ({what}; docs/evaluation.md)"


def _gate_lines(found: Status) -> Iterator[str]:
    """Yield what the gate found, once for all steps of which it is the same."""
    steps = defaultdict[tuple[str, str], list[int]](list)
    for step in found.steps:
        for line in step.gate_findings:
            steps[GATE_SAYS[step.gate or "passed"], line].append(step.step)
    for (outcome, line), numbers in steps.items():
        more = f" and {len(numbers) - SHOWN_STEPS:,} more" if len(numbers) > SHOWN_STEPS else ""
        named = ", ".join(map(str, numbers[:SHOWN_STEPS])) + more
        yield f"step{'s' if len(numbers) > 1 else ''} {named}, {outcome}: {line}"


GATE_SAYS = {
    "passed": "passed by the gate",
    "warned": "warned of by the gate",
    "stopped": "stopped by the gate",
    "accepted": "accepted after the gate stopped it",
    "rolled back": "rolled back by the gate",
}
"""What became of a step, in words."""


def _state_line(found: Status) -> str:
    """Return what happens to the run now; the word that begins the line is one that scripts may look for."""
    if found.state == "running" or found.activity.state == found.state:
        return found.activity.line(found.way_on)
    if found.state == "stopped":
        return f"stopped in the middle of a step, nobody works on it: `{found.way_on}` goes on"
    if found.state == "held":
        step = next(step.step for step in found.steps if step.gate == "stopped")
        return (
            f"held: the gate stopped the run after step {step}; adaptinf accept {shlex.quote(str(found.folder))} gate "
            f"takes the step as it is, or delete the step's folder to take it again; then repeat the command"
        )
    return found.state


def _test_lines(test: NewestTest) -> Iterator[str]:
    """Yield what the newest test says beyond its mean accuracy."""
    when = "the base model" if test.step < 0 else f"step {test.step}"
    if test.unknown and test.tolerant is not None:
        yield (
            f"{when}: tolerant accuracy {_percent(test.tolerant)}, strict {_percent(test.strict)}, over the skills "
            f"where it is known; not known of {', '.join(test.unknown)}"
        )
    if test.warned:
        shares = ", ".join(f"{skill} {100 * test.cut_off[skill]:.0f} %" for skill in test.warned)
        yield f"{when}: answers cut off at max_new_tokens: {shares}; their scores may say more of that limit"


def _step_cells(step: StepStatus, found: Status, *, has_tolerant: bool) -> list[str]:
    return [
        str(step.step),
        step.dataset,
        _count(step.rows),
        _count(step.rejected),
        "testing the base model" if found.testing_base and step.step == found.steps_finished else _state(step),
        _count(step.kept),
        _percent(step.average_accuracy),
        *([_percent(step.average_tolerant)] if has_tolerant else []),
        "" if step.seconds is None else format_seconds(step.seconds),
    ]


def _corrected(found: Status) -> str:
    """Return what is not in the pool, or was restored to it."""
    counts = {"pruned": found.pruned, "restored": found.restored, "excluded": found.excluded, "kept": found.kept_ids}
    parts = [f"{count:,} {name}" for name, count in counts.items() if count]
    parts += [f"{name} withdrawn from step {step} on" for name, step in found.withdrawn.items()]
    return f" ({', '.join(parts)})" if parts else ""


def _state(step: StepStatus) -> str:
    if step.lost:
        return f"lacks {', '.join(step.lost)}"
    if step.gate == "stopped":
        return "stopped by the gate"
    if step.finished:
        return f"finished, {step.gate}" if step.gate in ("warned", "accepted", "rolled back") else "finished"
    if step.under_way:
        return f"in {step.under_way[0]}"
    return f"after {step.done[-1]}" if step.done else "waiting"


def show_chosen(chosen: Chosen) -> None:
    """Print what `select` read, what it selected and where it lies."""
    info = chosen.info
    scores = [f"{name}{f' ({count:,} not finite)' if count else ''}" for name, count in info["not_finite"].items()]
    say(f"{counted(info['pool'], 'sample')}; scores: {', '.join(scores) or 'none'}")
    if info["ignored_columns"]:
        say(f"columns without numbers, ignored: {', '.join(info['ignored_columns'])}")
    for name, found in info["not_finite_rows"].items():
        ids = ", ".join(found["ids"][:SHOWN_IDS]) + (", ..." if found["rows"] > SHOWN_IDS else "")
        say(f"{name}: {counted(found['rows'], 'row')} not finite, selected last: {ids}")
    say(f"clusters: {_clusters_text(info['clusters'])}")
    options = ", ".join(f"{name}={value}" for name, value in info["options"].items())
    say(f"{info['method']}{f' ({options})' if options else ''} selected {info['chosen']:,} with seed {info['seed']}")
    if info["chosen"] < info["budget"]:
        say(f"only {info['chosen']:,} of the budget of {info['budget']:,}: there are no more samples to select")
    if info["sources"]:
        rows = [[name, f"{count['pool']:,}", f"{count['chosen']:,}"] for name, count in info["sources"].items()]
        print_table([["source", "pool", "selected"], *rows])
    say(f"wrote {chosen.folder}: ids.txt, selection.parquet, clusters.parquet, info.json")


def _clusters_text(info: Mapping[str, Any]) -> str:
    """Return how clusters were found and how many, with the number that was asked for if the rows do not give it."""
    if "clusters" not in info:
        return str(info["found"])
    few = f" of {info['asked']:,}, as no more rows differ" if (info.get("asked") or 0) > info["clusters"] else ""
    return f"{info['found']}, {info['clusters']:,}{few}"


def show_plugins(found: PluginList) -> None:
    """Print every kind of plug-in with one line each, and where those come from that are not built-in."""
    width = max(len(entry.name) for entry in found.entries)
    for kind, entries in groupby(found.entries, key=lambda entry: entry.kind):
        say(f"{kind}s")
        for entry in entries:
            origin = f" (from {entry.origin})" if entry.origin else ""
            say(f"  {entry.name:<{width}}  {entry.line}{origin}")


def show_check(check: Check) -> None:
    """Print one line of the doctor's report, as soon as it is known."""
    advice = f"  <- {check.advice}" if check.advice else ""
    say(f"{'ok ' if check.is_good else 'BAD'}  {check.name:<16} {check.value}{advice}")


def show_verdict(checkup: Checkup) -> None:
    """Print what is bad once more, after everything that was known on the way."""
    bad = [check for check in checkup.checks if not check.is_good]
    say("", f"{counted(len(bad), 'problem')} in {counted(len(checkup.checks), 'check')}" + (":" if bad else ""))
    for check in bad:
        show_check(check)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as columns: the first one aligned left, numbers right."""
    rows = [[escaped(cell) for cell in row] for row in rows]
    columns = range(len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in columns]
    # Once per column: a status has a row for each of thousands of steps.
    is_left = [column < 1 or not _is_numeric(rows, column) for column in columns]
    places = list(zip(widths, is_left, strict=True))
    say(*(_line(row, places) for row in rows))


def _line(row: Sequence[str], places: Sequence[tuple[int, bool]]) -> str:
    cells = zip(row, places, strict=True)
    return "  ".join(cell.ljust(width) if is_left else cell.rjust(width) for cell, (width, is_left) in cells).rstrip()


def _is_numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    return all(not row[column] or row[column][0] in NUMERIC for row in rows[1:])


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100.0 * value:.1f}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
