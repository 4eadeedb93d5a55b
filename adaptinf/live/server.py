"""The live page: three files and the state of one run as JSON, served to browsers of this machine alone."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from adaptinf.errors import AdaptError, ConfigError
from adaptinf.live.watching import Watcher
from adaptinf.runs import Run
from adaptinf.storage.tables import as_json_text
from adaptinf.words import escaped, one_line

PAGES = {
    "/": ("live.html", "text/html; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
}
STATE = "/state.json"
KEPT_SECONDS = 1.0
"""Several pages that ask within this time get the same answer."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOCAL_NAME = "localhost"


def serve(
    run: Run | Path | str, *, host: str = "127.0.0.1", port: int = 0, ready: Callable[[str], None] | None = None
) -> None:
    """Serve the live page of a run until Ctrl-C; nothing is written, and the run need not work.

    Args:
        run: the run, or its folder.
        host: a loopback address of this machine.
        port: where to listen; 0: any free one.
        ready: called once with the address of the page.

    Raises:
        ConfigError: there is no such run, the address is not one of this machine alone, or it cannot be listened at.
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    Run.open(folder)
    _check_loopback(host)
    state = _State(Watcher(folder))
    try:
        server = _Server((host, port), partial(_Handler, state))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{host}:{port} cannot be listened at ({error}); choose another --port") from error
    with server:
        shown = f"[{host}]" if ":" in host else host
        if ready is not None:
            ready(f"http://{shown}:{server.server_port}/")
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)


def _check_loopback(host: str) -> None:
    """Refuse an address that other machines could reach.

    Raises:
        ConfigError: it is one, or no address.
    """
    with suppress(ValueError):
        if host == LOCAL_NAME or ipaddress.ip_address(host).is_loopback:
            return
    raise ConfigError(
        f"host={host!r} may be reached from other machines, and the live page asks for no password; use 127.0.0.1, and "
        "`ssh -L PORT:127.0.0.1:PORT` to look from another machine"
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _State:
    """The state as JSON, at most so often computed, by one thread at a time."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher, self._lock = watcher, threading.Lock()
        self._text, self._time = b"", float("-inf")

    def text(self) -> bytes:
        """Return the state, or what keeps it from being read."""
        with self._lock:
            if time.monotonic() - self._time > KEPT_SECONDS:
                self._text = as_json_text(_shown(self._looked())).encode("utf-8")
                self._time = time.monotonic()
            return self._text

    def _looked(self) -> dict[str, Any]:
        try:
            return self._watcher.look().as_json()
        except (AdaptError, OSError) as error:
            return {"error": one_line(error)}


def _shown(value: Any) -> Any:
    """Return plain values whose texts have no characters that move or turn what stands beside them."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped(str(key)): _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "adaptinf", ""
    timeout = 30

    def __init__(self, state: _State, *args: Any, **options: Any) -> None:
        self._state = state
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        """Answer with a file or the state."""
        if not self._is_asked_locally():
            self._answer(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", b"only for browsers of this machine\n")
        elif self.path == STATE:
            self._answer(HTTPStatus.OK, "application/json", self._state.text())
        elif self.path in PAGES:
            name, kind = PAGES[self.path]
            self._answer(HTTPStatus.OK, kind, files("adaptinf.live").joinpath("page", name).read_bytes())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not here\n")

    def _is_asked_locally(self) -> bool:
        """Tell whether the page is asked for by an address of this machine: a name of a stranger's may lead here."""
        with suppress(ValueError):
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            return name == LOCAL_NAME or ipaddress.ip_address(name).is_loopback
        return False

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # the page was closed
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Log nothing: pages ask every two seconds."""
