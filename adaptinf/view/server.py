"""The explorer, served on this machine: files of the page and data of the run, nothing else, and only to its user."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from adaptinf.errors import AdaptError, ConfigError
from adaptinf.runs import Run
from adaptinf.view.explorer import JPEG, Explorer
from adaptinf.view.page import INDEX, POLICY, page_file

COOKIE = "adaptinf-token"
DATA = "data/"
"""Begin of the paths of data."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names by which a browser of this machine asks for it."""
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def serve(run: Run, step: int | None, *, host: str, port: int, ready: Callable[[str], None] | None) -> None:
    """Serve the explorer of a step's pool until Ctrl-C; `ready` is called with its URL.

    Raises:
        ConfigError: the step is not finished, or the address cannot be listened on.
        StoreError: a file of the run is damaged.
    """
    explorer = Explorer.open(run, step)
    with make_server(explorer, host, port) as server:
        if ready is not None:
            ready(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


def make_server(explorer: Explorer, host: str, port: int) -> ExplorerServer:
    """Return a server that listens on an address; another one than this machine's own asks for a token.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        return ExplorerServer(explorer, host, port)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--host {host} --port {port} cannot be listened on ({why}); leave both out for a free port of 127.0.0.1"
        ) from error


class ExplorerServer(ThreadingHTTPServer):
    """Answers the requests of one page."""

    daemon_threads = True

    def __init__(self, explorer: Explorer, host: str, port: int) -> None:
        """Listen; OSError: the address is taken, or is none of this machine."""
        self.explorer = explorer
        self.host = host
        self.token = "" if _is_loopback(host) else secrets.token_urlsafe(24)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without looking the machine's name up, which may ask a server of names."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has left before its answer, as it does with images out of sight."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is, with its token if there is one."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?token={self.token}" if self.token else ""
        return f"http://{shown}:{self.server_port}/{query}"

    def knows_host(self, header: str) -> bool:
        """Tell whether a request names this server, and not a name that someone has pointed at it (DNS rebinding).

        Where a token is asked for it is the token that tells, as the machine may have any name.
        """
        allowed = {f"{name}:{self.server_port}" for name in LOOPBACK} | {f"{self.host}:{self.server_port}"}
        allowed |= {name.rpartition(":")[0] for name in allowed} if self.server_port == 80 else set()
        return bool(self.token) or header.lower() in allowed


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: ExplorerServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "adaptinf", ""
    timeout: ClassVar[float] = 60.0

    def do_GET(self) -> None:
        """Answer with a file of the page or with data."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer as to GET, without the content."""
        self._answer()

    def _answer(self) -> None:
        if not self.server.knows_host(self.headers.get("Host", "")):
            self._send(403, "text/plain", b"this server answers to the address that it was started with only\n")
            return
        url = urlsplit(self.path)
        if self.server.token and not self._has_token():
            self._take_token(parse_qs(url.query).get("token", [""])[0])
            return
        try:
            found = self._content(url.path.removeprefix("/"), url.query)
        except (AdaptError, OSError) as error:
            self._send(500, "text/plain; charset=utf-8", f"{error}\n".encode("utf-8", "replace"))
            return
        if found is None:
            self._send(404, "text/plain", b"nothing here\n")
        else:
            self._send(200, *found)

    def _content(self, path: str, query: str) -> tuple[str, bytes] | None:
        if path.startswith(DATA):
            return self.server.explorer.content(path.removeprefix(DATA), query)
        return page_file(path or INDEX)

    def _has_token(self) -> bool:
        given = [part.strip().partition("=") for part in self.headers.get("Cookie", "").split(";")]
        return any(name == COOKIE and _is_same(value, self.server.token) for name, _, value in given)

    def _take_token(self, token: str) -> None:
        """Give the browser a cookie for the token of its URL, which leaves the address bar."""
        if not _is_same(token, self.server.token):
            self._send(403, "text/plain", b"open the whole URL that `adaptinf view` printed, with its token\n")
            return
        cookie = f"{COOKIE}={self.server.token}; Path=/; HttpOnly; SameSite=Strict"
        self._send(303, "text/plain", b"", {"Location": "/", "Set-Cookie": cookie})

    def _send(self, code: int, kind: str, content: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        keeps = "private, max-age=3600" if kind == JPEG else "no-store"
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": keeps}
        for name, value in {**headers, **HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing; a page asks for hundreds of files."""


def _is_same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
