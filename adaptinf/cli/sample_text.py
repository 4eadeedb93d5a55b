"""A sample as text for a terminal: its history in a run, or what a model sees of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from adaptinf.cli.output import GREEN, PLAIN
from adaptinf.data import Rejected
from adaptinf.words import counted, escaped, shortened

if TYPE_CHECKING:
    from adaptinf.doctor.inspected import Inspected, Piece
    from adaptinf.history.records import (
        ClusterMembership,
        PruningOutcome,
        SampleHistory,
        Score,
        SelectionOutcome,
        StepHistory,
    )

SHOWN_CHARACTERS = 300
"""Characters of one turn that are shown; the JSON has all of them."""
INDENT = "  "
WIDTH = 16
"""Columns of the label in front of a line."""


def history_text(history: SampleHistory) -> str:
    """Return a history as lines of text."""
    return as_lines([*_beginning(history), *(text for step in history.steps for text in _step(step))])


def inspected_text(inspected: Inspected, *, colour: bool) -> str:
    """Return one sample as lines of text; the text that the model learns is green, or in brackets without colour."""
    row = inspected.row
    opening = [inspected.note] if inspected.note else []
    name = shortened(row.id, SHOWN_CHARACTERS)
    if isinstance(row, Rejected):
        place, reason = line("file", f"{row.file} row {row.row}"), line("reason", row.reason)
        return as_lines([*opening, f"{name}: rejected", place, reason])
    lines = [*opening, name, *_conversation(inspected.named_turns, ())]
    for place, (width, height) in zip(inspected.image_places, inspected.image_sizes, strict=True):
        lines.append(line("image", f"{place}, {width} x {height} pixels"))
    lines += [line(*remark.split(": ", 1)) for remark in inspected.remarks]
    if inspected.problem:
        lines.append(line("the model cannot use it:", inspected.problem))
    if not inspected.pieces:
        return as_lines(lines)
    seen = "".join(_seen(piece, colour=colour) for piece in inspected.pieces)
    return f"{as_lines([*lines, *_counts(inspected, colour=colour)])}\n{seen}"


def as_lines(lines: Iterable[str]) -> str:
    """Return lines as one text; a line break that came with the data is shown as what it is."""
    return "\n".join(map(escaped, lines))


def _counts(inspected: Inspected, *, colour: bool) -> Iterator[str]:
    learnt = sum(piece.num_tokens for piece in inspected.pieces if piece.is_answer)
    total = sum(piece.num_tokens for piece in inspected.pieces)
    how = "in green" if colour else "in [answer: ] brackets"
    yield f"as the model sees it: {total:,} tokens, {learnt:,} of them learnt ({how})"
    if inspected.is_cut:
        yield "warning: longer than model.max_length (2,048 by default), cut on the right"
    if not learnt:
        yield "warning: no answer token is left; the sample would be unscored and not trained on"


def _seen(piece: Piece, *, colour: bool) -> str:
    """Return a piece with its line breaks, and with no code for the terminal but ours."""
    if piece.is_image:
        return f"[{piece.num_tokens:,} image tokens]"
    text = escaped(piece.text, kept="\n\t")
    if not piece.is_answer:
        return text
    return f"{GREEN}{text}{PLAIN}" if colour else f"[answer: {text}]"


def _beginning(history: SampleHistory) -> Iterator[str]:
    yield f"{history.id}: {history.state}"
    if history.state == "rejected":
        yield line("file", f"{history.meta['file']} row {history.meta['row']}")
        yield line("reason", history.notes[0])
        return
    yield line("arrived", f"with {history.source}, step {history.arrived}")
    yield from _conversation(history.turns, history.images)
    for key in ("skill", "task"):
        if history.meta.get(key):
            yield line(key, str(history.meta[key]))
    for note in history.notes:
        yield line("repaired", note)
    if history.restored_from is not None:
        yield line("restored", f"in the pool again from step {history.restored_from} on; it is not pruned any more")
    for one in history.exclusions:
        told = f"from step {one.step} on" + (f": {one.why}" if one.why else "")
        again = f"in the pool again from step {one.step} on"
        yield line("restored", again) if one.why is None else line("excluded", told)
    if history.kept_from is not None:
        yield line("kept", f"from step {history.kept_from} on (selection.keep); it is not pruned")
    if not history.steps:
        yield line("steps", "none has begun since it arrived")


def _conversation(turns: tuple[tuple[str, str], ...], images: tuple[str, ...]) -> Iterator[str]:
    for role, text in turns:
        yield line(role, shortened_turn(text))
    for path in images:
        yield line("image", path)


def _step(step: StepHistory) -> Iterator[str]:
    yield f"step {step.step}"
    if step.absent:
        yield line("not in the pool", step.absent)
        return
    if step.placed is not None:
        yield line("cluster", _cluster(step.placed))
    if step.measured_at is not None and step.measured_at != step.step:
        age = counted(step.step - step.measured_at, "step")
        yield line("measured", f"at step {step.measured_at}, {age} ago; vector and scores are carried over")
    for name, measured in step.scores.items():
        yield line(name, _score(measured, has_peers=step.placed is not None))
    if step.considered is None:
        yield line("selection", "not reached yet")
        return
    yield from _selection(step.considered)
    yield line("trained", _training(step))
    if step.pruned is not None:
        yield from _pruning(step.pruned)


def _cluster(placed: ClusterMembership) -> str:
    if placed.cluster < 0:
        return f"none: unscored, with {placed.size - 1:,} others"
    nearer = f"; {placed.quantile:.0%} of them are nearer" if math.isfinite(placed.quantile) else ""
    return f"{placed.cluster}, {counted(placed.size, 'sample')}; distance to the center {placed.distance:.4f}{nearer}"


def _score(measured: Score, *, has_peers: bool) -> str:
    if not math.isfinite(measured.value):
        return "not measured"
    return f"{measured.value:.4f}, above {measured.quantile:.0%} of the {'cluster' if has_peers else 'pool'}"


def _selection(outcome: SelectionOutcome) -> Iterator[str]:
    if outcome.entropies:
        bits = ", ".join(f"{name} {_bits(value)}" for name, value in outcome.entropies.items())
        yield line("scorer", f"{outcome.scorer} (bits of each histogram: {bits})")
    if outcome.bin is not None and outcome.bin >= 0:
        yield line("bin", f"{outcome.bin}, of which {outcome.bin_budget:,} of {outcome.bin_size:,} were selected")
    if outcome.budget is not None:
        yield line("budget", f"{outcome.budget:,} for its cluster, {outcome.total:,} for the step")
    yield line("selected" if outcome.chosen else "not selected", outcome.reason)


def _bits(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "none (too many values missing)"


def _training(step: StepHistory) -> str:
    if step.trained is None:
        return "not reached yet"
    return "yes" if step.trained else f"no{f': {step.untrained}' if step.untrained else ''}"


def _pruning(pruned: PruningOutcome) -> Iterator[str]:
    if pruned.neighbour is None:
        yield line("pruned", "to reach the cap; it was compared with no other sample")
        return
    whether = "which stayed" if pruned.neighbour_stayed else "which was pruned as well"
    yield line("pruned", f"cosine {pruned.similarity:.4f} with {pruned.neighbour}, {whether}:")
    for turn in _conversation(pruned.neighbour_turns, pruned.neighbour_images):
        yield INDENT + turn


def line(name: str, text: str) -> str:
    """Return a line with a label in front."""
    return f"{INDENT}{name:<{WIDTH - 1}} {text}"


def shortened_turn(text: str) -> str:
    """Return a text on one line, of at most SHOWN_CHARACTERS characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else f"{flat[:SHOWN_CHARACTERS]}..."
