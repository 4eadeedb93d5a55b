"""The other end of an executor: opening, in another process, the work that was sent there.

Beside the work goes the fingerprint of the plug-ins: the worker loads the user's files, so that a scorer of the user's
own is known there too, and refuses the work where it has other plug-ins.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from adaptinf import registry
from adaptinf.executors.interface import Shard, Work
from adaptinf.storage import verified

Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    working_directory: str
    """Where relative paths of the work count from."""
    plugins: registry.Fingerprint
    work: bytes
    """Pickled by itself: it may refer to plug-ins, which have to be loaded before."""
    checks_files: bool
    """Whether files are compared with their checksums (`verified.checking`)."""


class Pending(Protocol[Result]):
    """A result that will be there later, such as a future."""

    def result(self) -> Result:
        """Wait for the result and return it, or raise what the worker raised."""
        ...


def pack(work: Work[Any]) -> bytes:
    """Return work, and which plug-ins it needs, as bytes that any process can be sent."""
    return pickle.dumps(
        _Parcel(
            working_directory=os.getcwd(),
            plugins=registry.fingerprint(),
            work=pickle.dumps(work),
            checks_files=verified.is_checking(),
        )
    )


@contextmanager
def opened(parcel: bytes) -> Iterator[Any]:
    """Open packed work in this process and yield its tool (Any: what it is, the work decides).

    The process goes over into the working directory of the one that packed the work.

    Raises:
        ConfigError: this process has other plug-ins than the one that packed the work, or a plug-in file has changed.
    """
    unpacked: _Parcel = pickle.loads(parcel)
    os.chdir(unpacked.working_directory)
    with registry.scope_like(unpacked.plugins), verified.checking(unpacked.checks_files):
        work: Work[Any] = pickle.loads(unpacked.work)
        with work.open() as tool:
            yield tool


@dataclass
class _Held:
    parcel: bytes
    tool: Any = None
    is_open: bool = False


_held: list[_Held] = []
"""The work of a process that belongs to a pool; at most one."""
_open = ExitStack()


def hold(parcel: bytes) -> None:
    """Keep packed work for `do`: the initializer of a process pool.

    It is opened by the first `do`, because what an initializer raises does not reach the process that asks for results.
    """
    _held[:] = [_Held(parcel)]


def do(function: Callable[[Any, Shard], Any], shard: Shard) -> Any:
    """Return `function(tool, shard)` with the work that `hold` kept (Any: of whatever kind the function returns)."""
    (held,) = _held
    if not held.is_open:
        held.tool, held.is_open = _open.enter_context(opened(held.parcel)), True
    return function(held.tool, shard)


def in_order(submit: Callable[[Shard], Pending[Result]], shards: Iterable[Shard], *, ahead: int) -> Iterator[Result]:
    """Submit the shards one after another and yield their results in the same order.

    Args:
        submit: begins a shard somewhere and returns at once.
        shards: taken as results arrive.
        ahead: shards that are under way at once, at least 1.
    """
    waiting: deque[Pending[Result]] = deque()
    for shard in shards:
        waiting.append(submit(shard))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
