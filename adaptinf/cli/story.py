"""A sample in words, for a terminal: its life in a run, or what a model sees of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from adaptinf.data import Rejected
from adaptinf.doctor.sample import Inspected, Piece
from adaptinf.history.records import (
    ClusterMembership,
    PruningOutcome,
    SampleHistory,
    Score,
    SelectionOutcome,
    StepHistory,
)

SHOWN_CHARACTERS = 300
"""Of one turn; the JSON has all of it."""
INDENT = "  "
WIDTH = 16
"""Of the words in front of a line."""
GREEN, PLAIN = "\x1b[1;32m", "\x1b[0m"
"""What a terminal takes as colour."""


def tell(life: SampleHistory) -> str:
    """Return the life as lines of text."""
    return "\n".join([*_beginning(life), *(line for episode in life.steps for line in _step(episode))])


def show(inspected: Inspected, *, colour: bool) -> str:
    """Return one sample as lines of text; what the model learns to say is green, or in brackets without colour."""
    row = inspected.row
    if isinstance(row, Rejected):
        return "\n".join(
            [f"{row.id}: rejected", _line("file", f"{row.file} row {row.row}"), _line("reason", row.reason)]
        )
    lines = [row.id, *_conversation(row.turns, ())]
    for path, (width, height) in zip(row.images, inspected.image_sizes, strict=True):
        lines.append(_line("image", f"{path}, {width} x {height} pixels"))
    lines += [_line("repaired", note) for note in row.notes]
    if inspected.pieces:
        lines += _as_seen(inspected, colour=colour)
    return "\n".join(lines)


def _as_seen(inspected: Inspected, *, colour: bool) -> Iterator[str]:
    learnt = sum(piece.num_tokens for piece in inspected.pieces if piece.is_answer)
    total = sum(piece.num_tokens for piece in inspected.pieces)
    how = "in green" if colour else "in [answer: ] brackets"
    yield f"as the model sees it: {total:,} tokens, of which it learns to say {learnt:,}, {how}"
    if inspected.is_cut:
        yield "warning: longer than model.max_length (2,048 unless a run says otherwise), cut on the right"
    if not learnt:
        yield "warning: no answer token is left; the sample would be unscored and teach nothing"
    yield "".join(_seen(piece, colour=colour) for piece in inspected.pieces)


def _seen(piece: Piece, *, colour: bool) -> str:
    if piece.is_image:
        return f"[{piece.num_tokens:,} image tokens]"
    if not piece.is_answer:
        return piece.text
    return f"{GREEN}{piece.text}{PLAIN}" if colour else f"[answer: {piece.text}]"


def _beginning(life: SampleHistory) -> Iterator[str]:
    yield f"{life.id}: {life.state}"
    if life.state == "rejected":
        yield _line("file", f"{life.meta['file']} row {life.meta['row']}")
        yield _line("reason", life.notes[0])
        return
    yield _line("arrived", f"with {life.source}, step {life.arrived}")
    yield from _conversation(life.turns, life.images)
    for key in ("skill", "task"):
        if life.meta.get(key):
            yield _line(key, str(life.meta[key]))
    for note in life.notes:
        yield _line("repaired", note)
    if life.restored_from is not None:
        yield _line("restored", f"in the pool again from step {life.restored_from} on; it is not pruned any more")
    if not life.steps:
        yield _line("steps", "none has begun since it arrived")


def _conversation(turns: tuple[tuple[str, str], ...], images: tuple[str, ...]) -> Iterator[str]:
    for role, text in turns:
        yield _line(role, _shortened(text))
    for path in images:
        yield _line("image", path)


def _step(episode: StepHistory) -> Iterator[str]:
    yield f"step {episode.step}"
    if episode.absent:
        yield _line("not in the pool", episode.absent)
        return
    if episode.placed is not None:
        yield _line("cluster", _cluster(episode.placed))
    for name, measured in episode.scores.items():
        yield _line(name, _score(measured, has_peers=episode.placed is not None))
    if episode.considered is None:
        yield _line("selection", "not that far yet")
        return
    yield from _selection(episode.considered)
    yield _line("trained", _training(episode))
    if episode.pruned is not None:
        yield from _pruning(episode.pruned)


def _cluster(placed: ClusterMembership) -> str:
    if placed.cluster < 0:
        return f"none: unscored, with {placed.size - 1:,} others"
    nearer = f"; {placed.quantile:.0%} of them are nearer" if math.isfinite(placed.quantile) else ""
    return f"{placed.cluster}, {placed.size:,} samples; distance to the center {placed.distance:.4f}{nearer}"


def _score(measured: Score, *, has_peers: bool) -> str:
    if not math.isfinite(measured.value):
        return "not measured"
    return f"{measured.value:.4f}, above {measured.quantile:.0%} of the {'cluster' if has_peers else 'pool'}"


def _selection(considered: SelectionOutcome) -> Iterator[str]:
    if considered.entropies:
        bits = ", ".join(f"{name} {_bits(value)}" for name, value in considered.entropies.items())
        yield _line("scorer", f"{considered.scorer} (bits of each histogram: {bits})")
    if considered.bin is not None and considered.bin >= 0:
        yield _line(
            "bin", f"{considered.bin}, of which {considered.bin_budget:,} of {considered.bin_size:,} were chosen"
        )
    if considered.budget is not None:
        yield _line("budget", f"{considered.budget:,} for its cluster, {considered.total:,} for the step")
    yield _line("chosen" if considered.chosen else "not chosen", considered.reason)


def _bits(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "none (too many values missing)"


def _training(episode: StepHistory) -> str:
    if episode.trained is None:
        return "not that far yet"
    return "yes" if episode.trained else f"no{f': {episode.untrained}' if episode.untrained else ''}"


def _pruning(pruned: PruningOutcome) -> Iterator[str]:
    if pruned.neighbour is None:
        yield _line("pruned", "compared with nothing: the cap was reached without it")
        return
    whether = "which stayed" if pruned.neighbour_stayed else "which left as well"
    yield _line("pruned", f"cosine {pruned.similarity:.4f} with {pruned.neighbour}, {whether}:")
    for line in _conversation(pruned.neighbour_turns, pruned.neighbour_images):
        yield INDENT + line


def _line(name: str, text: str) -> str:
    return f"{INDENT}{name:<{WIDTH - 1}} {text}"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else f"{flat[:SHOWN_CHARACTERS]}..."
