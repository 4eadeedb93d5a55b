"""An executor whose one worker is another process, started afresh and kept for all work."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from adaptinf.executors.worker import opened, pack


class OtherProcess:
    """Sends work, functions and shards through `pickle` into a spawned process, one at a time."""

    is_in_process = False

    def __init__(self, settings: Any = None) -> None:
        self.num_shards: dict[str, int] = {}
        """Name of each function -> shards that it was called on."""
        self._pipe: Connection | None = None
        self._process: Any = None

    @contextmanager
    def open(self, work: Any) -> Iterator[OtherProcess]:
        if self._process is None:
            context = get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        self._ask("open", pack(work))
        try:
            yield self
        finally:
            self._ask("close")

    def map(self, function: Any, shards: Any) -> Iterator[Any]:
        for shard in shards:
            name = function.__qualname__
            self.num_shards[name] = self.num_shards.get(name, 0) + 1
            yield self._ask("do", function, shard)

    def close(self) -> None:
        if self._process is not None:
            self._ask("end")
            self._process.join()
            self._process = None

    def _ask(self, *question: Any) -> Any:
        assert self._pipe is not None
        self._pipe.send_bytes(pickle.dumps(question))
        answer = pickle.loads(self._pipe.recv_bytes())
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(pipe: Connection) -> None:
    """Answer questions until the end."""
    context = tool = None
    while True:
        kind, *given = pickle.loads(pipe.recv_bytes())
        answer: Any = None
        try:
            if kind == "open":
                context = opened(*given)
                tool = context.__enter__()
            elif kind == "do":
                function, shard = given
                answer = function(tool, shard)
            elif kind == "close" and context is not None:
                context, tool = context.__exit__(None, None, None), None
        except BaseException as error:
            answer = error
        pipe.send_bytes(pickle.dumps(answer))
        if kind == "end":
            return
