"""The first screen: answers to five questions in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from adaptinf.data import SavedPruning, Selection
from adaptinf.report.answer import Answer, runs_with_role, spoken, subject_of
from adaptinf.report.facts import RunFacts
from adaptinf.report.quality import did_it_help, what_was_forgotten
from adaptinf.report.table import SummaryTable
from adaptinf.results.summary import Summary
from adaptinf.runs.composition import described
from adaptinf.runs.usable import unusable_counts
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.storage import store
from adaptinf.words import counted, format_bytes, format_seconds


def answers(facts: Sequence[RunFacts], table: SummaryTable) -> list[Answer]:
    """Return the five answers about the subject of the page."""
    subject = subject_of(facts)
    baseline = runs_with_role("baseline", facts)
    return [
        did_it_help(subject, baseline),
        what_was_forgotten(subject, facts),
        _what_was_selected(subject[0]),
        _what_was_pruned(subject[0]),
        _what_did_it_cost(subject, baseline, table),
    ]


def _what_was_selected(fact: RunFacts) -> Answer:
    question = "What was selected?"
    steps = fact.steps_with(Selection)
    if not steps:
        return Answer(
            question=question, value="Nothing yet", text="No step of this run has finished its selection yet."
        )
    step = steps[-1]
    selection, num_pool = fact.load(step, Selection), len(fact.run.pool(step))
    rows = fact.catalogue.rows(selection.ids)
    share_new = (fact.catalogue.arrived[rows[rows >= 0]] == step).mean() if (rows >= 0).any() else 0.0
    name = fact.run.config.stream[step].name
    text = (
        f"In step {step + 1}, {100 * len(selection.ids) / max(1, num_pool):.0f} % of the pool: "
        f"{100 * share_new:.0f} % of them from the new dataset {name}, "
        f"{100 * (1 - share_new):.0f} % from earlier ones. " + deciding_scores(selection.clusters)
    )
    text = f"{text.strip()} {_shares(fact, selection)}".strip()
    return Answer(question=question, value=f"{len(selection.ids):,} of {counted(num_pool, 'sample')}", text=text)


def _shares(fact: RunFacts, selection: Selection) -> str:
    """Return a sentence on what the settings asked of parts of the pool; empty where they asked for nothing."""
    if not selection.parts:
        return ""
    names = [dataset.name for dataset in fact.run.config.stream]
    return f"By the settings: {described(selection.parts, names)}."


def deciding_scores(clusters: dict[str, np.ndarray]) -> str:
    """Return a sentence: number of clusters, of joint clusters, and the score that decided in most clusters."""
    deciders = Counter(clusters["scorer"]).most_common(1)
    if not deciders:
        return ""
    count, total = deciders[0][1], len(clusters["cluster"])
    if "part" in clusters:
        decided = "" if deciders[0] == (NO_SCORER, total) else f" {deciders[0][0]} decided in {count} of them."
        return f"The parts of the pool had {total} clusters together.{decided}"
    joined = f", joined to {len(np.unique(clusters['joint']))}" if "joint" in clusters else ""
    if deciders[0] == (NO_SCORER, total):
        return f"The pool had {total} clusters{joined}; no score decided in any of them."
    return f"The pool had {total} clusters{joined}; {deciders[0][0]} decided in {count} of them."


def _not_selectable(fact: RunFacts) -> str:
    """Return a sentence on the samples that the model cannot be trained on; empty where there are none."""
    if not fact.run.num_finished:
        return ""
    unusable = unusable_counts(fact.run)[fact.run.num_finished - 1] or 0
    verb = "is" if unusable == 1 else "are"
    return f" {counted(unusable, 'sample')} {verb} not selectable: no answer is left to learn." if unusable else ""


def _what_was_pruned(fact: RunFacts) -> Answer:
    question = "What was pruned?"
    steps = fact.steps_with(SavedPruning)
    tables = [fact.load(step, SavedPruning).table for step in steps]
    pruned, arrived = sum(len(table["id"]) for table in tables), len(fact.catalogue.ids)
    rejected = sum(len(store.read_lines(dataset.folder / store.REJECTED)) for dataset in fact.catalogue.datasets)
    unread = (
        f"{counted(rejected, 'row')} of the datasets {'was' if rejected == 1 else 'were'} rejected."
        if rejected
        else "No row of the datasets was rejected."
    )
    unread += _not_selectable(fact)
    cap = fact.run.cap
    if not pruned:
        why = (
            "The pool keeps every sample, because pruning.cap is none."
            if cap is None
            else f"The pool never exceeded its cap of {cap:,} samples."
        )
        return Answer(question=question, value="Nothing", text=f"{why} {unread}")
    similar = np.concatenate([table["similarity"][table["neighbour"] != ""] for table in tables]).astype(np.float64)
    alike = (
        f"Half of them had a neighbour with a cosine of at least {np.median(similar):.3f}. "
        if len(similar)
        else "They were drawn at random, because this method measures no embeddings. "
    )
    text = f"Pruned in {len(steps)} steps, to a pool of {cap:,} samples. {alike}{unread}"
    return Answer(question=question, value=f"{pruned:,} of {counted(arrived, 'sample')}", text=text)


def _what_did_it_cost(subject: Sequence[RunFacts], baseline: Sequence[RunFacts], table: SummaryTable) -> Answer:
    rows = table.by_group[subject[0].group]
    selection, training = _mean_seconds(rows, "selection_seconds"), _mean_seconds(rows, "training_seconds")
    per_seed = " per seed" if len(rows) > 1 else ""
    text = (
        f"{format_seconds(selection)} for the selection and {format_seconds(training)} for training{per_seed}, with "
        f"{np.mean([row.samples_trained for row in rows]):,.0f} samples trained on. "
    )
    if baseline and baseline[0].group != subject[0].group:
        other = table.by_group[baseline[0].group]
        name = spoken(baseline[0].group)
        text += (
            f"{name[:1].upper()}{name[1:]}: {format_seconds(_mean_seconds(other, 'selection_seconds'))} and "
            f"{format_seconds(_mean_seconds(other, 'training_seconds'))}. "
        )
    disk = np.mean([store.folder_bytes(fact.run.folder) for fact in subject])
    return Answer(
        question="What did it cost?",
        value=format_seconds(selection + training),
        text=f"{text}Disk: {format_bytes(float(disk))}.",
    )


def _mean_seconds(rows: Sequence[Summary], field: str) -> float:
    return float(np.mean([getattr(row, field) for row in rows]))
