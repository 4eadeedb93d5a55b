"""The live page's server: this machine alone, its state as text that is data, and nothing that it writes."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from adaptinf.errors import ConfigError
from adaptinf.live import serve, server
from tests.helpers.beating_process import working
from tests.helpers.live_pages import served
from tests.helpers.run_folders import run_folder


def asked(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


@pytest.fixture
def run(tmp_path):
    return run_folder(tmp_path / "run <b>\u202e", "random_replay", [[0.2, 0.5], [0.4, 0.6], [0.3, 0.8]])


def test_page_and_state_come_with_a_strict_policy_and_the_state_is_data(run, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    with served(run.folder, monkeypatch) as port:
        for path, kind in (("/", "text/html"), ("/live.js", "text/javascript"), ("/live.css", "text/css")):
            status, headers, content = asked(port, path)
            assert status == 200 and headers["Content-Type"].startswith(kind) and content
            assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
            assert headers["X-Content-Type-Options"] == "nosniff"
        status, headers, content = asked(port, "/state.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert asked(port, "/../config.yaml")[0] == asked(port, "/config.yaml")[0] == 404
    found = json.loads(content)
    assert found["status"]["state"] == "finished"
    assert found["status"]["folder"].endswith(r"run <b>\u202e")  # no character that turns a line round
    assert found["table"]["step"] == 1
    assert found["table"]["skills"][0] == {"skill": "s0", "base": 0.2, "before": 0.4, "now": 0.3}
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before


def test_the_page_itself_has_no_script_no_style_and_no_other_address_inside():
    page = (Path(server.__file__).parent / "page" / "live.html").read_text(encoding="utf-8")
    script = (Path(server.__file__).parent / "page" / "live.js").read_text(encoding="utf-8")
    assert page.count("<script") == 1 and "style=" not in page and "http" not in page.replace("http-equiv", "")
    assert "innerHTML" not in script and "eval(" not in script and "insertAdjacent" not in script


def test_a_page_of_a_stranger_cannot_ask_by_another_name_for_this_machine(run, monkeypatch):
    with served(run.folder, monkeypatch) as port:
        for host in ("evil.example", f"evil.example:{port}", "", "[::1", "10.0.0.7"):
            assert asked(port, "/state.json", Host=host)[0] == 403
        for host in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
            assert asked(port, "/state.json", Host=host)[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org", ""])
def test_an_address_that_others_can_reach_is_refused(run, host):
    with pytest.raises(ConfigError, match="may be reached from other machines"):
        serve(run.folder, host=host)


def test_a_port_that_is_taken_and_a_folder_that_is_no_run_are_refused(run, tmp_path, monkeypatch):
    with served(run.folder, monkeypatch) as port, pytest.raises(ConfigError, match="choose another --port"):
        serve(run.folder, port=port)
    with pytest.raises(ConfigError, match="not a run folder"):
        serve(tmp_path / "nothing")


def test_the_page_shows_a_run_at_work_and_then_that_it_was_killed(run, monkeypatch):
    monkeypatch.setattr(server, "KEPT_SECONDS", 0.0)
    with served(run.folder, monkeypatch) as port:
        with working(run, 1, "model") as process:
            found = json.loads(asked(port, "/state.json")[2])
            beat = found["status"]["activity"]["beat"]
            assert (found["status"]["state"], beat["process"]) == ("running", process.pid)
            assert beat["stages"][0]["beside"] == "2 workers: 1 died" and found["status"]["left"]["stage"] > 0
            assert found["curves"][-1]["is_under_way"] and beat["notes"] == ["warning: 3 images cannot be opened <b>"]
        found = json.loads(asked(port, "/state.json")[2])
        assert found["line"].startswith("stopped ") and " in training of step 1; " in found["line"]


def test_a_run_that_cannot_be_read_is_said_and_the_page_goes_on(run, monkeypatch):
    monkeypatch.setattr(server, "KEPT_SECONDS", 0.0)
    with served(run.folder, monkeypatch) as port:
        text = run.config_file.read_text()
        run.config_file.write_text("{]")
        assert "config.yaml" in json.loads(asked(port, "/state.json")[2])["error"]
        run.config_file.write_text(text)
        assert "error" not in json.loads(asked(port, "/state.json")[2])
