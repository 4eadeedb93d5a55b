"""Shards among workers that may die: one call under way per worker, and what a dead worker had is done elsewhere.

Which worker did a shard, and how often it was begun, changes no result: a shard is a function of the work and of
itself, and what it writes takes its place when it is complete.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from adaptinf.errors import StoreError
from adaptinf.executors.losses import LostShard
from adaptinf.words import counted, format_seconds, shortened

MAX_TRIES = 3
"""Workers that one shard may take with it before the work ends with an error that names the shard."""
AHEAD = 2
"""Shards per worker that may be finished before an earlier one is."""


class Message(NamedTuple):
    """What a worker says."""

    kind: Literal["ready", "done", "failed", "progress", "died"]
    """The work is open; a shard is done; opening or a shard raised; items are done; the worker is gone."""
    # Any: a result is of whatever kind the function returns.
    value: Any = None
    """The result, the exception, the number of items, or how the worker ended."""


class Worker(Protocol):
    """One process or actor that work is done in."""

    def begin(self, parcel: bytes) -> None:
        """Have it open packed work; it answers `ready` or `failed`."""
        ...

    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> None:
        """Have it call a function on a shard; it answers `done` or `failed`, and `progress` before."""
        ...

    def finish(self) -> None:
        """Have it close its work, and wait until it has."""
        ...

    def end(self) -> None:
        """End it, whatever it does."""
        ...


W = TypeVar("W", bound=Worker)


class WorkerKind(Protocol[W]):
    """How workers of one kind are started and heard."""

    def start(self, number: int) -> W:
        """Start worker `number`, which counts from 0, in the place of one that died if there was one."""
        ...

    def hear(self, workers: Sequence[W], seconds: float | None) -> list[tuple[W, Message]]:
        """Wait until some workers have said something, at most so many seconds, and return what."""
        ...


@dataclass(eq=False)
class _Call:
    number: int
    shard: Any
    tries: int = 0
    num_reported: int = 0
    """Items that this try has reported."""


@dataclass(eq=False)
class _Queue:
    """The shards of one `map`: those not taken yet, those that are to be done again, and results that wait."""

    numbered: Iterator[tuple[int, Any]]
    again: deque[_Call] = field(default_factory=deque)
    done: dict[int, Message] = field(default_factory=dict)
    turn: int = 0
    """Number of the next result."""
    num_taken: int = 0
    is_exhausted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether every result has been given."""
        return self.is_exhausted and self.turn == self.num_taken

    def take(self, ahead: int) -> _Call | None:
        """Return what to do next; None: nothing, or results of `ahead` shards wait for an earlier one."""
        if self.again:
            return self.again.popleft()
        if self.is_exhausted or self.num_taken >= self.turn + ahead:
            return None
        item = next(self.numbered, None)
        if item is None:
            self.is_exhausted = True
            return None
        self.num_taken += 1
        return _Call(*item)

    def next_result(self) -> Any:
        """Return the next result, or raise what its shard raised."""
        message = self.done.pop(self.turn)
        self.turn += 1
        if message.kind == "failed":
            raise message.value
        return message.value


@dataclass(eq=False)
class _Seat(Generic[W]):
    number: int
    worker: W
    state: Literal["opening", "idle", "busy", "ended"] = "opening"
    call: _Call | None = None
    heard_at: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class Dispatcher(Generic[W]):
    """The workers of one piece of work."""

    kind: WorkerKind[W]
    """How workers are started."""
    parcel: bytes
    """The work, packed."""
    num_workers: int
    """How many workers there are."""
    timeout: float | None = None
    """Seconds after which a worker that says nothing is ended as if it had died; None: any time."""
    on_progress: Callable[[int], None] = lambda count: None
    """Called with the number of items that a worker has done meanwhile."""
    note: Callable[[str], None] = lambda text: None
    """Shows a line of text."""
    seats: list[_Seat[W]] = field(default_factory=list)
    """One per worker."""
    _failed_starts: int = 0

    def begin(self, workers: Sequence[W] = ()) -> None:
        """Have workers open the work, those that are there already and new ones; who is ready gets shards."""
        for number in range(self.num_workers):
            worker = workers[number] if number < len(workers) else self.kind.start(number)
            self.seats.append(_Seat(number, worker))
            worker.begin(self.parcel)

    def wait_until_ready(self) -> None:
        """Wait until every worker has opened the work.

        Raises:
            AdaptError: what a worker raised while it opened the work.
            StoreError: workers die while they open it.
        """
        while any(seat.state == "opening" for seat in self.seats):
            for seat, message in self._hear():
                self._take_in(seat, message, None)

    def map(self, function: Callable[[Any, Any], Any], shards: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each shard in order; what a shard raises is raised when its turn comes.

        Raises:
            LostShard: a shard ended `MAX_TRIES` workers.
            StoreError: workers die while they open the work.
        """
        for seat in self.seats:
            if seat.state == "ended":
                self._start(seat)
        queue = _Queue(enumerate(shards))
        try:
            while not queue.is_over:
                self._give_out(queue, function)
                if queue.turn in queue.done:
                    yield queue.next_result()
                elif not queue.is_over:
                    for seat, message in self._hear():
                        self._take_in(seat, message, queue)
        finally:
            self._end([seat for seat in self.seats if seat.state == "busy"])

    def finish(self) -> list[W]:
        """Have every worker close the work, and return the workers."""
        self.wait_until_ready()
        live = [seat.worker for seat in self.seats if seat.state == "idle"]
        for worker in live:
            worker.finish()
        return live

    def end(self) -> None:
        """End every worker, whatever it does."""
        self._end(self.seats)

    def _end(self, seats: Sequence[_Seat[W]]) -> None:
        for seat in seats:
            seat.worker.end()
            seat.state, seat.call = "ended", None

    def _give_out(self, queue: _Queue, function: Callable[[Any, Any], Any]) -> None:
        """Give each idle worker a shard, as long as there are any and not too many wait for an earlier one."""
        for seat in self.seats:
            if seat.state == "idle" and (call := queue.take(AHEAD * len(self.seats))) is not None:
                self._give(seat, call, function)

    def _give(self, seat: _Seat[W], call: _Call, function: Callable[[Any, Any], Any]) -> None:
        call.tries, call.num_reported = call.tries + 1, 0
        seat.state, seat.call, seat.heard_at = "busy", call, time.monotonic()
        seat.worker.call(function, call.shard)

    def _hear(self) -> list[tuple[_Seat[W], Message]]:
        """Wait for messages, and make one of each worker that has been silent for too long."""
        waited = [seat for seat in self.seats if seat.state != "idle"]
        left = None
        if self.timeout is not None:
            first = min(seat.heard_at for seat in waited)
            left = max(0.0, first + self.timeout - time.monotonic())
        by_worker = {id(seat.worker): seat for seat in waited}
        heard = [
            (by_worker[id(worker)], message)
            for worker, message in self.kind.hear([seat.worker for seat in waited], left)
        ]
        now = time.monotonic()
        for seat, _ in heard:
            seat.heard_at = now
        for seat in waited:
            if self.timeout is not None and now - seat.heard_at >= self.timeout:
                seat.worker.end()
                heard.append((seat, Message("died", f"said nothing for {format_seconds(self.timeout)} and was ended")))
        return heard

    def _take_in(self, seat: _Seat[W], message: Message, queue: _Queue | None) -> None:
        """Take note of what a worker says; `queue` is None while no worker has a shard."""
        call = seat.call
        if message.kind == "progress":
            self._report(call, message.value)
        elif message.kind == "died":
            self._replace(seat, str(message.value), queue)
        elif call is None and message.kind == "failed":
            self._end([seat])
            raise message.value
        else:
            seat.state, seat.call = "idle", None
            self._failed_starts = 0
            if call is not None and queue is not None:
                queue.done[call.number] = message

    def _replace(self, seat: _Seat[W], how: str, queue: _Queue | None) -> None:
        """Put a new worker into the place of one that died, and let its shard be done again."""
        call = seat.call
        if call is None or queue is None:
            self._failed_starts += 1
            if self._failed_starts >= MAX_TRIES:
                raise StoreError(
                    f"{counted(MAX_TRIES, 'worker')} died while they loaded what they need, the last one {how}, "
                    "perhaps for lack of memory; set fewer workers, or run the same command again"
                )
        elif call.tries >= MAX_TRIES:
            queue.done[call.number] = Message("failed", _lost(call, how))
        else:
            again = f"try {call.tries + 1} of {MAX_TRIES}"
            self.note(f"a worker {how} at {shard_name(call.shard)}; another one does it again ({again})")
            self._report(call, -call.num_reported)
            queue.again.append(call)
        self._start(seat)

    def _report(self, call: _Call | None, count: int) -> None:
        """Report items that a shard has done, or, below 0, that have to be done again."""
        if call is not None:
            call.num_reported += count
        self.on_progress(count)

    def _start(self, seat: _Seat[W]) -> None:
        seat.worker, seat.call = self.kind.start(seat.number), None
        seat.state, seat.heard_at = "opening", time.monotonic()
        seat.worker.begin(self.parcel)


@contextmanager
def kept_open(dispatcher: Dispatcher[W], kept: list[W]) -> Iterator[Dispatcher[W]]:
    """Open the work for the block in workers that are kept from one work to the next.

    Args:
        dispatcher: the work.
        kept: the workers that are there; afterwards those that have closed the work, none where the block failed.
    """
    there, left_over = kept[: dispatcher.num_workers], kept[dispatcher.num_workers :]
    kept.clear()
    for worker in left_over:
        worker.end()
    try:
        dispatcher.begin(there)
        yield dispatcher
        kept.extend(dispatcher.finish())
    except BaseException:  # Ctrl-C too: no worker is left behind
        dispatcher.end()
        raise


def end_kept(kept: list[W]) -> None:
    """End workers, of which then none is kept."""
    while kept:
        kept.pop().end()


def shard_name(shard: Any) -> str:
    """Return how a message calls a shard, in one short line."""
    return shortened(str(shard))


def _lost(call: _Call, how: str) -> LostShard:
    return LostShard(
        f"{counted(call.tries, 'worker')} died at {shard_name(call.shard)}, the last one {how}, "
        "perhaps for lack of memory; what else was finished is kept, and the same command goes on from there",
        call.shard,
    )
