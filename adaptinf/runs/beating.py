"""Writing the heartbeat of a run beside its work: a thread that looks at the bars of the run every two seconds."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import psutil

from adaptinf.progress import Bar, Progress
from adaptinf.runs import Run
from adaptinf.runs.gpu_memory import GpuMemory
from adaptinf.runs.heartbeat import PERIOD_SECONDS, SHOWN_CHARACTERS, Gpu, Heartbeat, StageBeat, host, kernel, write
from adaptinf.words import one_line, shortened

RATE_SECONDS = 60.0
"""The rate of a stage is that of so many last seconds."""
JOIN_SECONDS = 10.0
"""A beat that takes longer, on a file system that hangs, is not waited for."""
SHOWN_NOTES = 20
"""Last lines that a heartbeat has."""
JUST_BEGUN_SECONDS = 0.1
"""What a bar moves by so soon after its begin was done by a killed attempt, and tells nothing of its rate."""
MOST_LOSSES = 400
"""Losses that a heartbeat has; of more, every second one is left out again and again."""
BEATS_PER_LOOK = 5
"""GPUs are asked at every fifth beat."""


@contextmanager
def beating(run: Run) -> Iterator[Run]:
    """Yield a run whose progress is also written into its heartbeat; the caller holds the run's lock."""
    pulse = _Pulse(run.heartbeat_file)
    pulse.start()
    try:
        yield replace(run, progress=Beating(run.progress, pulse))
    except BaseException as error:
        pulse.stop(error)
        raise
    pulse.stop()


class _Moment(NamedTuple):
    time: float
    done: int


@dataclass(eq=False, kw_only=True)
class _Stage:
    """One stage under way, as its bar moves it."""

    title: str
    total: int | None
    unit: str
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    beside: str = ""
    has_failed: bool = False
    """Whether an error has ended it: it is shown until another one begins."""
    moments: deque[_Moment] = field(default_factory=deque)
    """What was done when, during the last RATE_SECONDS."""

    def __post_init__(self) -> None:
        self.moments.append(_Moment(self.began, 0))

    def advance(self, count: int) -> None:
        """Count items."""
        self.done += count
        now = time.monotonic()
        if now - self.began < JUST_BEGUN_SECONDS:
            self.moments[0] = _Moment(now, self.done)

    def beat(self, now: float) -> StageBeat:
        """Return the stage as it is now."""
        self.moments.append(_Moment(now, self.done))
        while len(self.moments) > 2 and now - self.moments[0].time > RATE_SECONDS:
            self.moments.popleft()
        first, seconds = self.moments[0], now - self.moments[0].time
        count = self.done - first.done
        return StageBeat(
            title=shortened(self.title, SHOWN_CHARACTERS),
            done=self.done,
            total=self.total,
            unit=self.unit,
            seconds=round(now - self.began, 1),
            rate=count / seconds if count > 0 and seconds > 0 else None,
            beside=shortened(self.beside, SHOWN_CHARACTERS),
        )


class _Pulse:
    """The thread, and what it writes; the thread only reads what bars have counted."""

    def __init__(self, path: Path) -> None:
        self.path, self.began, self.number = path, time.time(), 0
        self.stages: list[_Stage] = []
        self.losses: list[tuple[int, float | None]] = []
        self.notes: deque[str] = deque(maxlen=SHOWN_NOTES)
        self._process, self._memory = psutil.Process(), GpuMemory()
        self._gpus: tuple[Gpu, ...] = ()
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write the first beat and begin the thread."""
        self._write()
        self._thread.start()

    def stop(self, error: BaseException | None = None) -> None:
        """End the thread and write the last beat."""
        self._end.set()
        self._thread.join(JOIN_SECONDS)
        self._write(ended=time.time(), error=None if error is None else shortened(message_of(error), SHOWN_CHARACTERS))

    def begin(self, stage: _Stage) -> None:
        with self._lock:
            self.stages = [*(other for other in self.stages if not other.has_failed), stage]

    def end(self, stage: _Stage) -> None:
        with self._lock:
            self.stages.remove(stage)

    def note(self, text: str) -> None:
        with self._lock:
            self.notes.append(shortened(text, SHOWN_CHARACTERS))

    def loss(self, step: int, value: float) -> None:
        with self._lock:
            if self.losses and step <= self.losses[-1][0]:
                self.losses.clear()  # another training
            self.losses.append((step, value if math.isfinite(value) else None))
            if len(self.losses) > MOST_LOSSES:
                del self.losses[1:-1:2]

    def _run(self) -> None:
        while not self._end.wait(PERIOD_SECONDS):
            if self.number % BEATS_PER_LOOK == 1:
                self._gpus = self._memory.now()
            self._write()

    def _write(self, *, ended: float | None = None, error: str | None = None) -> None:
        """Write a beat; where it cannot be written, such as on a full disk, the run goes on."""
        self.number += 1
        with self._lock:
            now = time.monotonic()
            beat = Heartbeat(
                process=self._process.pid,
                host=host(),
                kernel=kernel(),
                number=self.number,
                began=self.began,
                time=time.time(),
                stages=tuple(stage.beat(now) for stage in self.stages),
                losses=tuple(self.losses),
                notes=tuple(self.notes),
                memory_bytes=self._memory_bytes(),
                gpus=self._gpus,
                ended=ended,
                error=error,
            )
        with suppress(OSError):
            write(self.path, beat)

    def _memory_bytes(self) -> int | None:
        try:
            return int(self._process.memory_info().rss)
        except (psutil.Error, OSError):
            return None


def message_of(error: BaseException) -> str:
    """Return the message of an error on one line; an interruption has none but the name of its class."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C"
    return one_line(error) if isinstance(error, Exception) else type(error).__name__


@dataclass(frozen=True)
class Beating:
    """Passes everything on to another progress, and keeps what the heartbeat says."""

    progress: Progress
    """What shows the stages."""
    pulse: _Pulse
    """What writes the heartbeat."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Show the stage while the block runs; where an error ends it, the last beat still has it."""
        stage = _Stage(title=title, total=total, unit=unit)
        self.pulse.begin(stage)
        try:
            with self.progress.stage(title, total, unit) as bar:
                yield _BeatingBar(bar, stage, self.pulse)
        except BaseException:
            stage.has_failed = True
            raise
        self.pulse.end(stage)

    def note(self, text: str) -> None:
        """Show one line of text."""
        self.pulse.note(text)
        self.progress.note(text)


@dataclass(frozen=True)
class _BeatingBar:
    bar: Bar
    own: _Stage
    pulse: _Pulse

    def advance(self, count: int = 1) -> None:
        self.own.advance(count)
        self.bar.advance(count)

    def beside(self, text: str) -> None:
        self.own.beside = text
        self.bar.beside(text)

    def took(self, seconds: float) -> None:
        self.bar.took(seconds)

    def loss(self, step: int, value: float) -> None:
        """Keep the loss; bars of users, who may know of none, are not asked to show it."""
        self.pulse.loss(step, value)
