"""Progress between processes: what a worker sends is shown by its parent, also when the worker dies in a stage."""

from __future__ import annotations

import io
import queue
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from adaptinf.cli import progress
from adaptinf.cli.progress import Lines
from adaptinf.compare.remote import Relay, Remote


class Recorder:
    """Keeps what it is told."""

    def __init__(self):
        self.said = []

    @contextmanager
    def stage(self, title, total, unit="samples"):
        self.said.append(("begin", title, total, unit))
        yield self
        self.said.append(("end", title))

    def advance(self, count=1):
        self.said.append(count)

    def beside(self, text):
        self.said.append(text)

    def took(self, seconds):
        self.seconds = seconds

    def note(self, text):
        self.said.append(text)


def test_what_a_worker_sends_arrives_in_the_parent():
    messages, shown = queue.Queue(), Recorder()
    remote = Remote(messages, "adapt")
    with remote.stage("train", 8, "steps") as bar:
        bar.advance(3)
        remote.note("hello")
        bar.beside("2 workers")
        bar.advance(5)
    relay = Relay(shown)
    while not messages.empty():
        relay.show(messages.get())
    assert shown.said == [
        ("begin", "adapt: train", 8, "steps"),
        3,
        "adapt: hello",
        "2 workers",
        5,
        ("end", "adapt: train"),
    ]


def test_a_stage_of_a_worker_ends_with_the_seconds_that_it_took_there(monkeypatch):
    """The parent may be busy, and then hears of begin and end together."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    messages, stream = queue.Queue(), io.StringIO()
    with Remote(messages, "adapt").stage("train", 8, "steps") as bar:
        bar.advance(8)
        clock.now += 4.0
    relay = Relay(Lines(stream))
    while not messages.empty():
        relay.show(messages.get())
    assert stream.getvalue() == "adapt: train: 8 steps in 4.0 s (2.0/s)\n"


def test_a_stage_whose_worker_failed_is_closed():
    messages, shown = queue.Queue(), Recorder()
    with pytest.raises(RuntimeError), Remote(messages, "adapt").stage("train", 8):
        raise RuntimeError
    relay = Relay(shown)
    while not messages.empty():
        relay.show(messages.get())
    relay.close()
    relay.close()
    assert shown.said == [("begin", "adapt: train", 8, "samples"), ("end", "adapt: train")]
