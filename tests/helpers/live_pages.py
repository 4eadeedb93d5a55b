"""A live page that is served in a thread while a test looks at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adaptinf.live import serve, server


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Yield the port of a page about a run."""
    started, ports, servers = threading.Event(), [], []
    begin = server._Server.serve_forever

    def noted(self, **options):
        servers.append(self)
        begin(self, **options)

    def ready(url: str) -> None:
        ports.append(int(url.rstrip("/").rpartition(":")[2]))
        started.set()

    monkeypatch.setattr(server._Server, "serve_forever", noted)
    thread = threading.Thread(target=serve, args=(folder,), kwargs={"ready": ready})
    thread.start()
    assert started.wait(20)
    try:
        yield ports[0]
    finally:
        while not servers:
            time.sleep(0.01)
        servers[0].shutdown()
        thread.join(10)
