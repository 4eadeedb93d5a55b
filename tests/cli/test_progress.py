"""Progress on a terminal and in a log: counts, rate and time left, within the width that there is."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

from adaptinf.cli import progress
from adaptinf.cli.progress import Lines, Terminal, make_progress
from adaptinf.progress import Silent
from adaptinf.words import format_rate


def test_a_stage_in_a_log_ends_with_one_line_of_counts_and_seconds():
    stream = io.StringIO()
    with Lines(stream).stage("extract", 2000) as bar:
        bar.advance(1500)
        bar.advance()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("extract: 1,501 samples in 0.0 s (")


def test_a_long_stage_in_a_log_says_now_and_then_what_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Lines(stream).stage("extract", 100) as bar:
        bar.started = bar.last_line = now[0]
        for _ in range(4):
            now[0] += 10.0
            bar.advance(10)
    *under_way, last = stream.getvalue().splitlines()
    assert under_way == [
        "extract: 20/100 samples (1.0/s, 1 min 20 s left)",
        "extract: 40/100 samples (1.0/s, 1 min 00 s left)",
    ]
    assert last.startswith("extract: 40 samples in 40.0 s (1")


def test_how_the_workers_are_stands_beside_the_counts(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Lines(stream).stage("extract", 100) as bar:
        bar.started = bar.last_line = now[0]
        for state in ("2 workers, 1 loading", "2 workers"):
            now[0] += 20.0
            bar.beside(state)
            bar.advance(20)
    first, second, last = stream.getvalue().splitlines()
    assert first == "extract: 20/100 samples (1.0/s, 1 min 20 s left), 2 workers, 1 loading"
    assert second.endswith("left), 2 workers") and "worker" not in last


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (2500.4, "2,500/s"), (10.0, "10/s"), (9.96, "10.0/s"), (1.0, "1.0/s"), (0.51, "0.5/s"), (0.1, "0.1/s"),
        (0.049, "0.05/s"), (0.0042, "0.004/s"), (0.0, "0/s"),
    ],
)  # fmt: skip
def test_a_rate_below_one_a_second_is_not_rounded_to_a_whole_number(rate, text):
    assert format_rate(rate) == text


def test_slow_stages_show_their_rate(monkeypatch):
    assert progress.counts_line(3, 10, "samples", 60.0) == "3/10 samples (0.05/s, 2 min 20 s left)"
    assert progress.summary_line("train", 30, "samples", 60.0) == "train: 30 samples in 1 min 00 s (0.5/s)"
    assert progress.summary_line("train", 1, "samples", 2.0) == "train: 1 sample in 2.0 s (0.5/s)"


def test_a_stage_of_unknown_length_says_no_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Lines(stream).stage("add", None, "rows") as bar:
        bar.started = bar.last_line = now[0]
        now[0] = 20.0
        bar.advance(40)
    assert stream.getvalue().splitlines()[0] == "add: 40 rows (2.0/s)"


def test_bars_on_a_terminal_nest_and_end_even_after_an_error(capsys):
    terminal = Terminal()
    with terminal.stage("outer [x]", 2) as outer, terminal.stage("inner", None) as inner:
        outer.advance(2)
        inner.advance()
        terminal.note("[bold] is not markup")
    with pytest.raises(RuntimeError), terminal.stage("again", 1):
        raise RuntimeError
    terminal.note("after")
    said = capsys.readouterr().err
    assert "outer [x]" in said and "[bold] is not markup" in said and said.endswith("after\n")


def test_quiet_is_silent_and_a_pipe_gets_lines(capsys):
    assert isinstance(make_progress(quiet=True), Silent)
    assert isinstance(make_progress(), Lines)
    with Silent().stage("anything", 1) as bar:
        bar.advance()
    Silent().note("nothing")
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal_has_counts_rate_and_time_left_within_80_columns(monkeypatch):
    """In a pseudo-terminal, as a person has it, on a clock that the test moves."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    read_end, write_end = pty.openpty()
    fcntl.ioctl(write_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    # Somebody reads all the while: a terminal's buffer is small, and the bar is drawn again ten times a second.
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(_everything, read_end)
        with open(write_end, "w") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            shown = make_progress()
            with shown.stage("12/20 extract", 1_000_000) as bar:
                bar.started = clock.now
                clock.now += 100.0
                bar.advance(250_000)
                shown._bars.refresh()
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", reading.result()).splitlines()
    os.close(read_end)
    said = "250,000/1,000,000 samples (2,500/s, 5 min 00 s left)"
    assert any(line.startswith("12/20 extract ") and line.endswith(said) for line in lines), lines
    assert "12/20 extract: 250,000 samples in 1 min 40 s (2,500/s)" in lines


def _everything(read_end: int) -> str:
    """Return what a terminal showed until its other end was closed, which Linux tells as an error of the device."""
    shown = b""
    with suppress(OSError):
        while piece := os.read(read_end, 1 << 16):
            shown += piece
    return shown.decode()
