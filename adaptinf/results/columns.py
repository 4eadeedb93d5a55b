"""The columns of all results tables: name and meaning of each number, and its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adaptinf.results.intervals import Interval, PairedTest, over_seeds
from adaptinf.results.summary import Summary
from adaptinf.words import format_seconds

LEAST_P = 0.001
"""Smaller p-values are written as < LEAST_P."""


class Column(NamedTuple):
    """One column of a table."""

    field: str
    """Field of `Summary` that it shows."""
    heading: str
    """Short name."""
    factor: float
    """Factor from the field to the unit of the table."""
    meaning: str
    """Definition in one sentence."""


COLUMNS = (
    Column("macro", "accuracy", 100.0, "Percent of correct test answers after the last step, mean over skills."),
    Column("micro", "micro", 100.0, "The same, with each skill weighted by its share of the stream."),
    Column("rare", "rare", 100.0, "Mean over rare skills: skills with less than half of an equal share of the stream."),
    Column("common", "common", 100.0, "Mean over the other skills."),
    Column("relative_gain", "rel. gain", 1.0, "Accuracy in percent of the reference accuracy, mean over skills."),
    Column("worst_skill", "worst", 100.0, "Lowest accuracy of any skill after the last step."),
    Column("over_time", "over time", 100.0, "Mean over steps of the accuracy on the skills introduced so far."),
    Column("forgetting_signed", "forgetting", 1.0, "Mean loss of a learnt skill from one step to the next, in percent"
           " of its earlier accuracy; gains count as negative, so values below zero are good."),
    Column("forgetting_clipped", "(clipped)", 1.0, "The same, with gains counted as zero."),
    Column("forgetting_left_out", "left out", 1.0, "Pairs of skill and step that both rates leave out, because the"
           " earlier accuracy was below one test item."),
    Column("max_forgetting", "max. forgetting", 100.0, "Best accuracy of a skill since its introduction, the last"
           " step excluded, minus its accuracy after the last step, in points, mean over skills."),
    Column("backward_transfer", "bwd transfer", 100.0, "Accuracy of a skill after the last step minus that after the"
           " step that introduced it, in points, mean over skills; below zero is forgetting."),
    Column("forward_transfer", "fwd transfer", 100.0, "Points that a skill gained before its own data arrived, mean"
           " over skills."),
    Column("samples_trained", "trained", 1.0, "Samples trained on in all steps; epochs are not counted."),
    Column("selection_seconds", "selection", 1.0, "Time of extraction, clustering, selection and pruning."),
    Column("training_seconds", "training", 1.0, "Time of training."),
)  # fmt: skip
COLUMN = {column.field: column for column in COLUMNS}
"""Field -> its column."""


LOSES_ABOVE_ZERO = {"forgetting_signed": True, "backward_transfer": False}
"""Columns whose sign is also said in words: whether a value above zero is a loss."""
READING = (
    "over time: mean over all steps, so what was good on the way counts too",
    "forgetting: mean loss of a skill from step to step, in % of what it was; below zero it gained",
    "(clipped): the same with gains counted as zero, so never below zero",
    "bwd (backward transfer): points at the end minus right after learning; below zero it lost",
)
"""How to read the numbers that are often misread, one line each."""
READING_PAGE = "docs/evaluation.md#reading-the-numbers"
"""Where more is said."""
FEW_SEEDS = 3
"""Fewer say little of the spread over seeds."""


def seeds_note(num_seeds: int) -> str:
    """Return what the number of seeds means for a comparison; empty where there are enough."""
    if num_seeds >= FEW_SEEDS or not num_seeds:
        return ""
    if num_seeds == 1:
        return "one seed: another seed may differ by several points, so small differences may be chance"
    return f"{num_seeds} seeds, fewer than three: intervals over so few are wide and uncertain"


def worded(column: Column, members: Sequence[Summary], *, with_ends: bool = True) -> str:
    """Return the text of a cell, with a word for its sign where a reader may take it for the opposite."""
    text, mean = cell(column, members, with_ends=with_ends), interval_of(column, members).mean
    if column.field not in LOSES_ABOVE_ZERO or np.isnan(mean) or number(mean) == "0.0":
        return text
    return f"{text} {'lost' if (mean > 0) == LOSES_ABOVE_ZERO[column.field] else 'gained'}"


def cell(column: Column, members: Sequence[Summary], *, with_ends: bool = True) -> str:
    """Return the mean over seeds as text, with half of its 95 % interval if there are several seeds."""
    interval = interval_of(column, members)
    if np.isnan(interval.mean):
        return "–"
    if column.field.endswith("seconds"):
        return format_seconds(interval.mean)
    if column.field == "forgetting_left_out":
        return number(interval.mean).removesuffix(".0")  # a count, whose interval is not meaningful
    if column.field == "samples_trained":
        return f"{interval.mean:,.0f}"
    return with_interval(interval) if with_ends else number(interval.mean)


def interval_of(column: Column, members: Sequence[Summary]) -> Interval:
    """Return the mean over seeds with its 95 % t-interval, in the column's unit."""
    return over_seeds([getattr(row, column.field) * column.factor for row in members])


def with_interval(interval: Interval) -> str:
    """Return 23.4, or 23.4 ± 1.2 if the interval is known."""
    if np.isnan(interval.low):
        return number(interval.mean)
    return f"{number(interval.mean)} ± {interval.high - interval.mean:.1f}"


def number(value: float) -> str:
    """Return a number with one decimal and a minus sign (U+2212); never -0.0."""
    text = f"{value:.1f}"
    return ("0.0" if text == "-0.0" else text).replace("-", "−")


def signed(value: float) -> str:
    """Return a number with one decimal and its sign."""
    text = number(value)
    return text if text.startswith("−") or text == "0.0" else f"+{text}"


def paired_test_text(test: PairedTest) -> str:
    """Return +1.2 (−0.3 to +2.7), p = 0.12."""
    if np.isnan(test.interval.mean):
        return "–"
    mean, low, high = (signed(100.0 * value) for value in test.interval)
    return f"{mean} ({low} to {high}), p {p_text(test.p_value)}"


def p_text(p_value: float) -> str:
    """Return a p-value as it follows the letter p: "= 0.031", "< 0.001"."""
    if p_value < LEAST_P:
        return f"< {LEAST_P}"
    return f"= {p_value:.3f}" if p_value < 0.1 else f"= {p_value:.2f}"


def effect_text(test: PairedTest) -> str:
    """Return the effect size; a dash with one seed."""
    return "–" if np.isnan(test.effect) else f"{test.effect:+.2f}".replace("-", "−")
