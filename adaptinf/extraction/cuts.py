"""How a plan is cut into shards while it is measured: a shard takes about a minute, which is what a kill can lose.

Where the cuts are changes no result: batches are those of the plan, and arrays are put together by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from adaptinf.words import counted

SHARD_SECONDS = 60.0
"""A shard is made to take about this long."""
SHARD_BYTES = 2**25
"""A shard ends before its arrays, which are in memory until they are written, exceed this (32 MiB)."""
GROWTH = 4
"""A shard has at most this many times the batches of a measured one: the first batches say little about the speed."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some consecutive batches that are measured and saved together."""

    start: int
    """Number of the first batch in the plan."""
    batches: tuple[tuple[int, ...], ...]
    """Row numbers of each batch."""

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"batches {self.start} to {self.stop - 1} of extraction ({counted(self.num_rows, 'sample')})"

    @property
    def stop(self) -> int:
        """Number of the batch after the last."""
        return self.start + len(self.batches)

    @property
    def num_rows(self) -> int:
        """Samples in all batches."""
        return sum(map(len, self.batches))


@dataclass(kw_only=True)
class Cutter:
    """Cuts what is left of a plan, at the speed of the shards that have been measured so far."""

    batches: Sequence[tuple[int, ...]]
    """All batches of the plan."""
    row_bytes: int
    """Bytes of one row in the arrays."""
    num_workers: int = 1
    """Workers that share them; of what is left, a shard has at most the half of a worker's share, so that all end
    together."""
    _num_batches: int = field(default=1, init=False)
    """Batches of the next shard, as far as its bytes allow."""

    def learn(self, num_batches: int, seconds: float) -> None:
        """Take note of how long a shard took, on the clock of the worker that measured it."""
        fitting = SHARD_SECONDS * num_batches / max(seconds, 1e-9)
        self._num_batches = max(1, int(min(fitting, GROWTH * num_batches)))

    def shards(self, left: Sequence[range]) -> Iterator[Shard]:
        """Yield shards that cover the batches in `left`; each is cut when it is asked for."""
        num_left = sum(map(len, left))
        for gap in left:
            start = gap.start
            while start < gap.stop:
                most = self._num_batches if self.num_workers == 1 else -(-num_left // (2 * self.num_workers))
                shard = self._cut(start, min(gap.stop, start + min(self._num_batches, most)))
                yield shard
                start = shard.stop
                num_left -= len(shard.batches)

    def _cut(self, start: int, stop: int) -> Shard:
        chosen: list[tuple[int, ...]] = []
        num_bytes = 0
        for batch in self.batches[start:stop]:
            num_bytes += self.row_bytes * len(batch)
            if chosen and num_bytes > SHARD_BYTES:
                break
            chosen.append(batch)
        return Shard(start=start, batches=tuple(chosen))


def left_over(num_batches: int, done: Sequence[range]) -> list[range]:
    """Return the batches 0..num_batches-1 that are in none of the ranges `done`, as ranges, ascending.

    Args:
        num_batches: batches of the plan.
        done: ranges that do not overlap, in any order.
    """
    ordered = sorted(done, key=lambda own: own.start)
    starts = [0, *(own.stop for own in ordered)]
    stops = [*(own.start for own in ordered), num_batches]
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]
