"""Shards among workers that may die: one call under way per worker, and what a dead worker had is done elsewhere.

Which worker did a shard, and how often it was begun, changes no result: a shard is a function of the work and of
itself, and what it writes takes its place when it is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

from adaptinf.errors import StoreError
from adaptinf.executors.calls import Call, Queue
from adaptinf.executors.losses import LostShard
from adaptinf.executors.talking import SILENT, Message, W, WorkerKind, is_silence, perhaps
from adaptinf.words import counted, format_seconds, shortened

MAX_TRIES = 3
"""Workers that one shard may take with it before the work ends with an error that names the shard."""
AHEAD = 2
"""Shards per worker that may be finished before an earlier one is."""
REPLACEMENT_SECONDS = 60.0
"""How long the end of a work waits for workers that replace dead ones: where a machine is lost, they never begin."""


@dataclass(eq=False)
class _Seat(Generic[W]):
    number: int
    worker: W
    state: Literal["opening", "idle", "busy", "ended"] = "opening"
    call: Call | None = None
    heard_at: float = field(default_factory=time.monotonic)
    num_failed_starts: int = 0
    """Workers of this seat that died, one after another, while they opened the work."""
    is_replaced: bool = False
    """Whether its worker replaces one that died."""


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
    _queue: Queue | None = None
    """That of the `map` under way."""

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
            self._listen(None)

    def map(self, function: Callable[[Any, Any], Any], shards: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each shard in order; what a shard raises is raised when its turn comes.

        Raises:
            LostShard: a shard ended `MAX_TRIES` workers.
            StoreError: workers die while they open the work.
        """
        for seat in self.seats:
            if seat.state == "ended":
                self._start(seat)
        queue = self._queue = Queue.of(shards)
        try:
            while not queue.is_over:
                self._give_out(queue, function)
                if queue.turn in queue.done:
                    yield queue.next_result()
                elif not queue.is_over:
                    self._listen(queue)
        finally:
            self._queue = None
            self._end([seat for seat in self.seats if seat.state == "busy"])

    def state(self) -> str:
        """Return how many workers there are and what waits, in a few words."""
        loading = sum(seat.state == "opening" for seat in self.seats)
        words = [counted(sum(seat.state != "ended" for seat in self.seats), "worker")]
        words += [f"{loading} loading"] if loading else []
        return ", ".join(words + ([] if self._queue is None else self._queue.waiting))

    def finish(self) -> list[W]:
        """Have every worker close the work, and return the workers."""
        late = time.monotonic() + REPLACEMENT_SECONDS
        while opening := [seat for seat in self.seats if seat.state == "opening"]:
            if time.monotonic() >= late and all(seat.is_replaced for seat in opening):
                self._end(opening)
                break
            self._listen(None, late)
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

    def _give_out(self, queue: Queue, function: Callable[[Any, Any], Any]) -> None:
        """Give each idle worker a shard, as long as there are any and not too many wait for an earlier one."""
        for seat in self.seats:
            if seat.state == "idle" and (call := queue.take(AHEAD * len(self.seats))) is not None:
                call.tries, call.num_reported = call.tries + 1, 0
                seat.state, seat.call, seat.heard_at = "busy", call, time.monotonic()
                seat.worker.call(function, call.shard)

    def _listen(self, queue: Queue | None, until: float | None = None) -> None:
        """Wait for messages, at most until some time, and take them in; `queue` is None while nobody has a shard."""
        for seat, message in self._hear(until):
            self._take_in(seat, message, queue)

    def _hear(self, until: float | None) -> list[tuple[_Seat[W], Message]]:
        """Wait for messages, and make one of each worker that has been silent for too long."""
        waited = [seat for seat in self.seats if seat.state in ("opening", "busy")]
        ends = [until] if until is not None and until > time.monotonic() else []
        ends += [min(seat.heard_at for seat in waited) + self.timeout] if self.timeout is not None else []
        left = max(0.0, min(ends) - time.monotonic()) if ends else None
        by_worker = {id(seat.worker): seat for seat in waited}
        found = self.kind.hear([seat.worker for seat in waited], left)
        heard = [(by_worker[id(worker)], message) for worker, message in found]
        now = time.monotonic()
        for seat, _ in heard:
            seat.heard_at = now
        for seat in waited:
            if self.timeout is not None and now - seat.heard_at >= self.timeout:
                heard.append((seat, Message("died", f"{SILENT} {format_seconds(self.timeout)} and was ended")))
        return heard

    def _take_in(self, seat: _Seat[W], message: Message, queue: Queue | None) -> None:
        call = seat.call
        if message.kind == "progress":
            self._report(call, message.value)
        elif message.kind == "died":
            self._replace(seat, str(message.value), queue)
        elif call is None and message.kind == "failed":
            self._end([seat])
            raise message.value
        else:
            seat.state, seat.call, seat.num_failed_starts = "idle", None, 0
            if call is not None and queue is not None:
                if message.num_items:
                    self._report(call, message.num_items)
                queue.done[call.number] = message

    def _replace(self, seat: _Seat[W], how: str, queue: Queue | None) -> None:
        """Put a new worker into the place of one that died, and let its shard be done again."""
        call = seat.call
        seat.worker.end()
        if call is None or queue is None:
            seat.num_failed_starts += 1
            if seat.num_failed_starts >= MAX_TRIES:
                self._give_up(seat, how)
                return
        elif call.tries >= MAX_TRIES:
            queue.done[call.number] = Message("failed", _lost(call, how))
        else:
            again = f"try {call.tries + 1} of {MAX_TRIES}"
            self.note(f"a worker {how} at {shard_name(call.shard)}; another one does it again ({again})")
            self._report(call, -call.num_reported)
            queue.again.append(call)
        self._start(seat)
        seat.is_replaced = True

    def _give_up(self, seat: _Seat[W], how: str) -> None:
        """Go on without a seat of which no worker can begin, if there are others that work.

        Raises:
            StoreError: there are none.
        """
        line = f"{counted(MAX_TRIES, 'worker')} died while they loaded what they need, the last one {how}"
        seat.state, seat.call = "ended", None
        live = sum(other.state in ("idle", "busy") for other in self.seats)
        if not live:
            way_out = "set a longer worker_timeout" if is_silence(how) else "set fewer workers"
            raise StoreError(f"{line}{perhaps(how)}; {way_out}, or run the same command again")
        self.note(f"{line}; going on with {counted(live, 'worker')}")

    def _report(self, call: Call | None, count: int) -> None:
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


def _lost(call: Call, how: str) -> LostShard:
    return LostShard(
        f"{counted(call.tries, 'worker')} died at {shard_name(call.shard)}, the last one {how}{perhaps(how)}; "
        "what else was finished is kept, and the same command goes on from there",
        call.shard,
    )
