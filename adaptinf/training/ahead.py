"""Work that is done in a thread before its result is asked for, in an order that is known."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")

MAX_BYTES = 2 * 2**30
"""Of results that wait; one may wait however large it is."""
CLOSING_SECONDS = 10.0
"""Longest wait for the thread at the end; it ends with what it is doing, and with the process at the latest."""


class _Ready(NamedTuple, Generic[Result]):
    """A result that waits, or what was raised in place of it."""

    result: Result | None
    error: BaseException | None
    num_bytes: int


class Ahead(Generic[Key, Result]):
    """Makes results in one thread, one after another, while those before them are used.

    They are made and given in the same order as without it, and what making one raises is raised when it is asked for.
    """

    def __init__(
        self,
        make: Callable[[Key], Result],
        after: Callable[[Key], Key | None],
        bytes_of: Callable[[Result], int],
        *,
        max_ready: int,
    ) -> None:
        """Begin without a thread; the first call of `get` starts it.

        Args:
            make: makes one result; it runs in the thread.
            after: the key that is asked for after another one; None: none is.
            bytes_of: the memory that a result takes.
            max_ready: so many results wait at most, and at most MAX_BYTES.
        """
        self._make, self._after, self._bytes_of = make, after, bytes_of
        self._max_ready = max_ready
        self._changed = threading.Condition()
        self._ready: deque[_Ready[Result]] = deque()
        self._expected: Key | None = None
        self._thread: threading.Thread | None = None
        self._is_stopped = threading.Event()

    def get(self, key: Key) -> Result:
        """Return the result of a key; one that was not expected begins a new order.

        Raises:
            BaseException: what making it raised.
        """
        if self._thread is None or key != self._expected:
            self.close()
            self._start(key)
        with self._changed:
            self._changed.wait_for(lambda: bool(self._ready))
            ready = self._ready.popleft()
            self._changed.notify_all()
        self._expected = self._after(key)
        if ready.error is not None:
            self.close()
            raise ready.error
        assert ready.result is not None
        return ready.result

    def close(self) -> None:
        """End the thread; results that wait are dropped."""
        self._is_stopped.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSING_SECONDS)
        self._thread = None
        self._ready = deque()

    def _start(self, key: Key) -> None:
        self._is_stopped = threading.Event()
        self._ready = deque()
        # A daemon, so that Ctrl-C ends the process while an image is decoded.
        self._thread = threading.Thread(
            target=self._work, args=(key, self._ready, self._is_stopped), name="training-batches", daemon=True
        )
        self._thread.start()

    def _work(self, key: Key | None, ready: deque[_Ready[Result]], is_stopped: threading.Event) -> None:
        while key is not None and not is_stopped.is_set():
            made = self._made(key)
            with self._changed:
                ready.append(made)
                self._changed.notify_all()
                if made.error is not None:
                    return
                self._changed.wait_for(lambda: is_stopped.is_set() or self._has_room(ready))
            key = self._after(key)

    def _made(self, key: Key) -> _Ready[Result]:
        try:
            result = self._make(key)
            return _Ready(result, None, self._bytes_of(result))
        except BaseException as error:  # raised again in the thread that asks; without it, that thread would wait
            return _Ready(None, error, 0)

    def _has_room(self, ready: deque[_Ready[Result]]) -> bool:
        return not ready or (len(ready) < self._max_ready and sum(one.num_bytes for one in ready) < MAX_BYTES)
