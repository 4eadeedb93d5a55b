"""A limit of processor time on code of other people that runs in this process, in any thread."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

INTERVAL = 0.25
"""Seconds between two looks at what is running."""


class TooSlow(BaseException):
    """Code took more processor time than it may; no `except Exception` of that code holds it back."""


class time_limit:  # noqa: N801 (used as a function)
    """Raise TooSlow in a block that takes more processor time than `seconds`, when it runs Python code next.

    A thread looks at the clocks of the threads that are in such a block. Entering one takes two microseconds.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_stopped = False

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        self.clock = _clock_of(self.thread)
        self.end = self.clock() + self.seconds
        _watch(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _lock:
            _running.discard(self)
            if self.is_stopped and kind is not TooSlow:
                # It ended just before it was stopped: the exception that waits for this thread is taken back.
                _raise_in(self.thread, None)
        if self.is_stopped and kind is not TooSlow:
            raise TooSlow from error

    def look(self) -> None:
        """Stop the block if its time is over."""
        if not self.is_stopped and self.clock() > self.end:
            self.is_stopped = True
            _raise_in(self.thread, TooSlow)


_lock = threading.Lock()
_running: set[time_limit] = set()
_watcher: threading.Thread | None = None


def _clock_of(thread: int) -> Callable[[], float]:
    """Return the clock of the processor time of a thread; of all time on systems without one (macOS)."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    return partial(time.clock_gettime, time.pthread_getcpuclockid(thread))


def _watch(block: time_limit) -> None:
    global _watcher
    with _lock:
        _running.add(block)
        # Not alive in a process that was forked either.
        if _watcher is None or not _watcher.is_alive():
            _watcher = threading.Thread(target=_look, name="time-limit", daemon=True)
            _watcher.start()


def _look() -> None:
    while True:
        time.sleep(INTERVAL)
        with _lock:
            for block in _running:
                block.look()


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error and ctypes.py_object(error))
