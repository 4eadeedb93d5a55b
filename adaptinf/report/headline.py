"""The first screen: answers to five questions in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptinf.data import Evaluation, SavedPruning, Selection
from adaptinf.report.differences import Difference, difference
from adaptinf.report.facts import RunFacts
from adaptinf.report.forgetting import forgotten
from adaptinf.report.skills import by_group
from adaptinf.report.table import SummaryTable
from adaptinf.results.columns import number, signed
from adaptinf.results.summary import Summary
from adaptinf.runs.usable import unusable_counts
from adaptinf.selection.entropy import NO_SCORER
from adaptinf.selection.traits import Role, methods_with_role
from adaptinf.storage import store
from adaptinf.words import counted, format_bytes, format_seconds


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question and its answer."""

    question: str
    """The question."""
    value: str
    """The answer in a few words or a number."""
    text: str
    """The answer in two or three sentences."""
    tone: str = ""
    """Colour of the value: good, bad or empty."""


def subject_of(facts: Sequence[RunFacts]) -> list[RunFacts]:
    """Return the runs that the first screen is about: the first group that is not a baseline, otherwise the first."""
    groups = list(by_group(facts).values())
    return next((runs for runs in groups if runs[0].role == "method"), groups[0])


def baseline_of(fact: RunFacts, facts: Sequence[RunFacts]) -> Evaluation | None:
    """Return the evaluation of the baseline with the seed of a run; None for the baseline itself, or without it."""
    if fact.role == "baseline":
        return None
    found = [other for other in _runs_with_role("baseline", facts) if other.run.config.seed == fact.run.config.seed]
    return found[0].evaluation if found else None


def answers(facts: Sequence[RunFacts], table: SummaryTable) -> list[Answer]:
    """Return the five answers about the subject of the page."""
    subject = subject_of(facts)
    baseline = _runs_with_role("baseline", facts)
    return [
        _did_it_help(subject, baseline),
        _what_was_forgotten(subject, facts),
        _what_was_selected(subject[0]),
        _what_was_pruned(subject[0]),
        _what_did_it_cost(subject, baseline, table),
    ]


def _runs_with_role(role: Role, facts: Sequence[RunFacts]) -> list[RunFacts]:
    """Return the runs of the first group whose method has a role."""
    groups = [runs for runs in by_group(facts).values() if runs[0].role == role]
    return groups[0] if groups else []


def _did_it_help(subject: Sequence[RunFacts], baseline: Sequence[RunFacts]) -> Answer:
    question = "Did the selection help?"
    name = subject[0].group
    evaluation = subject[0].evaluation
    if evaluation is None:
        text = "No skill is tested. List test files under evaluation: in stream.yaml to evaluate every step."
        return Answer(question=question, value="Not measured", text=text)
    if subject[0].role == "baseline":
        text = (
            f"{_accuracy(evaluation.matrix)} % of the test answers are correct, mean over "
            f"{len(evaluation.skills)} skills. "
            f"This is {_spoken(name)} itself, the baseline that a method must beat; give a method's run as well."
        )
        return Answer(question=question, value="Baseline only", text=text)
    if not baseline:
        text = (
            f"{_accuracy(evaluation.matrix)} % of the test answers are correct, mean over "
            f"{len(evaluation.skills)} skills. "
            "Whether selection helped is unknown: run the same stream with "
            f"--set selection.method={methods_with_role('baseline')[0]} into a folder of its own, and give both "
            "folders to adaptinf report."
        )
        return Answer(question=question, value="Not known yet", text=text)
    return _compared(question, name, _spoken(baseline[0].group), difference(subject, baseline))


def _spoken(name: str) -> str:
    """Return a name as it reads in a sentence, without underscores."""
    return name.replace("_", " ")


def _accuracy(matrix: np.ndarray) -> str:
    tested = matrix[-1][np.isfinite(matrix[-1])]
    return number(100.0 * float(tested.mean())) if len(tested) else "–"


def _compared(question: str, name: str, other: str, found: Difference | str) -> Answer:
    if isinstance(found, str):
        return Answer(question=question, value="Not comparable", text=found)
    points, low, high = (100.0 * value for value in found.interval)
    seeds = (
        f"{found.num_seeds} seeds" if found.num_seeds > 1 else "one seed; results of another seed may differ by more"
    )
    text = (
        f"After step {found.num_steps}, {name} answers {number(100.0 * found.accuracy)} % of the tests correctly, "
        f"{other} {number(100.0 * found.baseline)} %, mean over {found.num_skills} skills. "
        f"95 % interval of the difference: {signed(low)} to {signed(high)} points ({seeds})."
    )
    if low > 0 or high < 0:
        value = f"{'Yes' if points > 0 else 'No'}: {signed(points)} points"
        return Answer(question=question, value=value, text=text, tone="good" if points > 0 else "bad")
    return Answer(question=question, value=f"No clear difference: {signed(points)} points", text=text)


def _what_was_forgotten(subject: Sequence[RunFacts], facts: Sequence[RunFacts]) -> Answer:
    question = "What was forgotten?"
    found = forgotten(subject)
    if found is None:
        text = "Forgetting can be measured from the second tested step on."
        return Answer(question=question, value="Not measured yet", text=text)
    others = [
        f"{runs[0].group} lost {number(lost.mean_loss)} points"
        for runs in (_runs_with_role("baseline", facts), _runs_with_role("lower reference", facts))
        if runs and runs[0].group != subject[0].group and (lost := forgotten(runs)) is not None
    ]
    worst = ", ".join(f"{skill} {before:.0f} → {after:.0f} %" for skill, before, after in found.worst)
    text = (
        "Best accuracy of a skill minus its last one, mean over skills. "
        f"Of {found.num_skills} skills introduced before the last step, {found.num_lost} ended below their best. "
        + (f"Largest losses: {worst}. " if worst else "")
        + (f"For comparison: {'; '.join(others)}." if others else "")
    )
    value = f"{number(found.mean_loss)} points per skill" if found.mean_loss > 0 else "Nothing"
    return Answer(question=question, value=value, text=text.strip())


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
    return Answer(
        question=question, value=f"{len(selection.ids):,} of {counted(num_pool, 'sample')}", text=text.strip()
    )


def deciding_scores(clusters: dict[str, np.ndarray]) -> str:
    """Return a sentence: number of clusters, of joint clusters, and the score that decided in most clusters."""
    deciders = Counter(clusters["scorer"]).most_common(1)
    if not deciders:
        return ""
    count, total = deciders[0][1], len(clusters["cluster"])
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
        name = _spoken(baseline[0].group)
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
