"""`status --watch`: a few lines that stay in their place on a terminal, and a line now and then in a log or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from adaptinf.cli.output import say
from adaptinf.cli.progress import SECONDS_BETWEEN_LINES
from adaptinf.words import counted, escaped, format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from adaptinf.live import Look
    from adaptinf.runs.heartbeat import Heartbeat, StageBeat

SHOWN_NOTES = 3
"""Last messages of the run that are shown."""
SPARKS = "▁▂▃▄▅▆▇█"
SHOWN_LOSSES = 40
"""Losses in a line."""


def shown(looks: Iterable[Look]) -> Look:
    """Show looks as they come, and return the last one."""
    return _on_terminal(looks) if sys.stdout.isatty() else _in_lines(looks)


def lines_of(look: Look) -> list[str]:
    """Return a run at one moment, a line each: state, stage, time left, loss, machine, last messages."""
    status, beat = look.status, look.status.activity.beat
    lines = [f"{status.folder}", status.activity.line(status.way_on)]
    if status.state != "running" or beat is None:
        return lines
    lines += [stage_line(stage) for stage in beat.stages]
    lines.append(left_line(look))
    lines += [*_loss_lines(look), *_machine_lines(beat)]
    return lines + [f"  {note}" for note in beat.notes[-SHOWN_NOTES:]]


def stage_line(stage: StageBeat) -> str:
    """Return what a stage has done: counts, rate, time left, workers."""
    of_total = "" if stage.total is None else f"/{stage.total:,}"
    parts = [] if stage.rate is None else [format_rate(stage.rate)]
    if stage.seconds_left is not None:
        parts.append(f"{format_seconds(stage.seconds_left)} left")
    rate = f" ({', '.join(parts)})" if parts else ""
    return f"{stage.title}: {stage.done:,}{of_total} {stage.unit}{rate}{f', {stage.beside}' if stage.beside else ''}"


def left_line(look: Look) -> str:
    """Return the time left for step and stream, or what it waits for."""
    left, status = look.status.left, look.status
    done = f"{status.steps_finished} of {counted(len(status.steps), 'step')} finished"
    if left.step is None or left.stream is None:
        waits = f"; left for step and stream: not known before {', '.join(left.unknown)} was measured"
        return done + (waits if left.unknown else "")
    guessed = f" ({'; '.join(left.guessed)})" if left.guessed else ""
    return f"{done}; left: step {format_seconds(left.step)}, stream {format_seconds(left.stream)}{guessed}"


def _loss_lines(look: Look) -> Iterator[str]:
    if not look.curves or not look.curves[-1].is_under_way:
        return
    known = [loss for _, loss in look.curves[-1].points if loss is not None][-SHOWN_LOSSES:]
    if known:
        low, span = min(known), max(known) - min(known) or 1.0
        sparks = "".join(SPARKS[int((loss - low) / span * (len(SPARKS) - 1))] for loss in known)
        yield f"loss {known[-1]:.4g} at optimiser step {look.curves[-1].points[-1][0]:,.0f}  {sparks}"


def _machine_lines(beat: Heartbeat) -> Iterator[str]:
    parts = [] if beat.memory_bytes is None else [f"memory {format_bytes(beat.memory_bytes)}"]
    parts += [
        f"GPU {number} {format_bytes(gpu.used_bytes)} of {format_bytes(gpu.total_bytes)}"
        for number, gpu in enumerate(beat.gpus)
    ]
    if parts:
        yield ", ".join(parts)


def _on_terminal(looks: Iterable[Look]) -> Look:
    """Show each look in the place of the one before."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    look: Any = None  # there is one at least
    with Live(console=Console(highlight=False), auto_refresh=False, transient=True) as live:
        for look in looks:
            live.update(Text("\n".join(map(escaped, lines_of(look)))), refresh=True)
    last: Look = look
    return last


def _in_lines(looks: Iterable[Look]) -> Look:
    """Print the stage now and then, and at once where it is another one."""
    look: Any = None
    before, last_time = "", float("-inf")
    for look in looks:
        beat, now = look.status.activity.beat, time.monotonic()
        stage = beat.stages[-1] if beat is not None and beat.stages else None
        title = look.status.state if stage is None else stage.title
        if look.status.state == "running" and (title != before or now - last_time > SECONDS_BETWEEN_LINES):
            place = look.status.activity.line(look.status.way_on) if stage is None else stage_line(stage)
            say(f"{place}; {left_line(look)}")
            before, last_time = title, now
    last: Look = look
    return last
