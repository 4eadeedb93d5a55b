"""The server of the explorer: whom it answers, with which headers, and what it never gives."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adaptinf.errors import ConfigError
from adaptinf.view.explorer import Explorer
from adaptinf.view.page import page_files
from adaptinf.view.server import COOKIE, ExplorerServer, make_server
from tests.helpers.explored_runs import explored_run


@pytest.fixture(scope="module")
def explorer(tmp_path_factory) -> Explorer:
    return Explorer.open(explored_run(tmp_path_factory.mktemp("explored"), 60, 2), None)


@contextmanager
def started(explorer: Explorer, host: str) -> Iterator[ExplorerServer]:
    server = make_server(explorer, host, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(server: ExplorerServer, path: str, *, method: str = "GET", **headers: str):
    """Return status, headers and content of an answer; `Host` is the server's own unless it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


@pytest.fixture(scope="module")
def server(explorer) -> Iterator[ExplorerServer]:
    with started(explorer, "127.0.0.1") as one:
        yield one


def test_every_file_of_the_page_is_given_with_a_strict_policy(server):
    for name in ["", *(path.name for path in page_files())]:
        status, headers, content = ask(server, f"/{name}")
        policy = headers["Content-Security-Policy"]
        assert status == 200 and content
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/data/../../config.yaml", "/data//etc/passwd", "/data/thumbs/..%2f1.jpg",
     "/data/rows/99999.json", "/server.py", "/data"],
)  # fmt: skip
def test_what_is_no_file_of_the_page_or_its_data_is_not_found(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "127.0.0.1:1"])
def test_a_name_that_someone_pointed_at_this_machine_is_refused(server, host):
    status, _, content = ask(server, "/data/view.json", Host=host)
    assert status == 403 and b"run" not in content


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_the_names_of_this_machine_are_answered(server, name):
    assert ask(server, "/data/view.json", Host=f"{name}:{server.server_port}")[0] == 200


def test_nothing_but_reading_is_understood(server):
    assert ask(server, "/", method="HEAD")[2] == b""
    assert {ask(server, "/data/view.json", method=method)[0] for method in ("POST", "PUT", "DELETE")} == {501}


def test_it_listens_on_this_machine_alone_unless_told_otherwise(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert "token" not in server.url


def test_another_address_asks_for_the_token_of_its_url(explorer):
    with started(explorer, "0.0.0.0") as server:
        for path in ("/", "/data/view.json", "/?token=wrong", f"/?token={server.token}x"):
            assert ask(server, path)[0] == 403
        status, headers, _ = ask(server, "/" + server.url.rpartition("/")[2], Host="some-name:1")
        cookie = headers["Set-Cookie"]
        assert status == 303 and headers["Location"] == "/"
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        given = cookie.partition(";")[0]
        assert ask(server, "/data/view.json", Cookie=f"a=b; {given}")[0] == 200
        assert ask(server, "/data/view.json", Cookie=f"{COOKIE}=wrong")[0] == 403


def test_an_address_that_is_taken_or_none_of_this_machine_is_refused_in_one_line(explorer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--host 127.0.0.1 --port {port} cannot be listened on"):
            make_server(explorer, "127.0.0.1", port)
    for host in ("192.0.2.7", "no address"):
        with pytest.raises(ConfigError, match="cannot be listened on"):
            make_server(explorer, host, 0)
