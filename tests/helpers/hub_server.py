"""A server on this machine that answers as the Hugging Face hub does, for one data set: `python -m ... FOLDER CODE`.

It runs in a process of its own with the code that asks it, as libraries read the hub's address when they are imported.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

COMMIT = "a" * 40
NAME = "owner/toys"
API = f"/api/datasets/{NAME}"
FILES = f"/datasets/{NAME}/resolve/"


def server_of(folder: Path) -> ThreadingHTTPServer:
    """Return a server whose data set has the files of a folder."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Write nothing."""

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            path = unquote(path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if path in (API, f"{API}/revision/{COMMIT}", f"{API}/revision/main"):
                about = {"id": NAME, "sha": COMMIT, "private": False, "disabled": False, "gated": False, "tags": []}
                self.send({**about, "siblings": [{"rfilename": name} for name in files]})
            elif path.startswith(f"{API}/tree/"):
                inner = path.removeprefix(f"{API}/tree/").partition("/")[2]
                self.send(listing(inner, is_deep="recursive=true" in query.lower()))
            elif path.startswith(f"{API}/paths-info/"):
                is_json = "json" in (self.headers.get("Content-Type") or "")
                asked = json.loads(body)["paths"] if is_json else parse_qs(body.decode()).get("paths", [])
                self.send([entry for name in asked for entry in about_path(name)])
            elif path.startswith(FILES) and path.removeprefix(FILES).partition("/")[2] in files:
                self.send_file(files[path.removeprefix(FILES).partition("/")[2]])
            else:
                code = "EntryNotFound" if path.startswith(FILES) else "RepoNotFound"
                self.send({"error": code}, 404, **{"X-Error-Code": code})

        def send_file(self, content: bytes) -> None:
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{len(content)}"', "Accept-Ranges": "bytes"}
            status = 200
            if asked := self.headers.get("Range"):
                first, last = asked.partition("=")[2].split("-")
                end = min(int(last or len(content)), len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
                content, status = content[int(first) : end + 1], 206
            self.send(content, status, **headers)

        def send(self, value: Any, status: int = 200, **headers: str) -> None:
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, header in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, header)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    def about_path(name: str) -> list[dict[str, Any]]:
        if name in files:
            return [{"type": "file", "path": name, "size": len(files[name]), "oid": "b" * 40}]
        is_folder = any(other.startswith(f"{name}/") for other in files)
        return [{"type": "directory", "path": name, "size": 0, "oid": "c" * 40}] if is_folder else []

    def listing(inner: str, *, is_deep: bool) -> list[dict[str, Any]]:
        below = [name for name in files if not inner or name.startswith(f"{inner}/")]
        start = len(inner) + 1 if inner else 0
        folders = {name[: name.index("/", start)] for name in below if "/" in name[start:]}
        shown = below if is_deep else [name for name in below if "/" not in name[start:]]
        return [entry for name in [*sorted(folders), *shown] for entry in about_path(name)]

    return ThreadingHTTPServer(("127.0.0.1", 0), Hub)


def main(folder: str, code: str) -> None:
    """Run code while a server has the files of a folder."""
    server = server_of(Path(folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    address = f"http://127.0.0.1:{server.server_port}"
    os.environ |= {
        "HF_ENDPOINT": address,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": f"{folder}-home",
        "HF_HUB_DISABLE_XET": "1",
    }
    exec(code, {})


if __name__ == "__main__":
    main(*sys.argv[1:])
