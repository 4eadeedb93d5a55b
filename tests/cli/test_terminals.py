"""Output never fails for its encoding: what a terminal or a log cannot show is written as backslash escapes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest


def run(*words: object, encoding: str, stderr: int = subprocess.PIPE) -> tuple[int, bytes, bytes]:
    """Run a command in a process of its own, as Python chooses the encoding of an output when it starts."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"}
    command = [sys.executable, "-m", "adaptinf", *(os.fsencode(str(word)) for word in words)]
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, check=False)
    return found.returncode, found.stdout, found.stderr or b""


def write(path: Path) -> Path:
    """Write two Chinese rows, of which one names an image that is not there."""
    answer = {"from": "gpt", "value": "一只猫。🐈"}
    rows = [
        {"id": "好", "conversations": [{"from": "human", "value": "这是什么？"}, answer]},
        {"id": "x", "image": "缺.png", "conversations": [{"from": "human", "value": "<image>\n?"}, answer]},
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
def test_rows_in_any_script_are_printed_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    data = write(tmp_path / "数据.json")
    code, out, err = run("validate", data, encoding=encoding)
    assert code == 0 and b"Traceback" not in err and b"1 rejected" in out
    assert ("缺" if encoding == "gbk" else "\\u7f3a").encode(encoding) in out
    code, out, err = run("inspect", data, "0", encoding=encoding)
    assert code == 0 and b"Traceback" not in err and b"\\U0001f408" in out


def test_messages_and_bars_are_printed_in_any_encoding(tmp_path: Path) -> None:
    code, _, err = run("validate", tmp_path / "无.json", encoding="ascii")
    assert code == 2 and b"\\u65e0.json does not exist" in err and b"Traceback" not in err
    read_end, write_end = pty.openpty()
    with ThreadPoolExecutor(1) as reader:
        shown = reader.submit(everything, read_end)
        code, _, _ = run("validate", write(tmp_path / "数据.json"), encoding="ascii", stderr=write_end)
        os.close(write_end)
        assert code == 0 and b"validate" in shown.result() and b"Traceback" not in shown.result()
    os.close(read_end)


def everything(read_end: int) -> bytes:
    """Return what a terminal showed until its other end was closed, which Linux tells as an error of the device."""
    shown = b""
    with suppress(OSError):
        while piece := os.read(read_end, 1 << 16):
            shown += piece
    return shown


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_file_name_that_is_no_utf_8_is_shown_escaped(tmp_path: Path, encoding: str) -> None:
    data = write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json")))
    code, out, err = run("validate", data, encoding=encoding)
    assert code == 0 and b"Traceback" not in err and b"caf\\udce9.json: 1 sample" in out
    code, _, err = run("validate", data, "--format", "no", encoding=encoding)
    assert code == 2 and b"Traceback" not in err


def test_a_run_folder_that_cannot_be_written_down_is_refused_by_its_name(tmp_path: Path) -> None:
    data = write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json")))
    code, _, err = run("init", tmp_path / "run", "--model", "m", encoding="utf-8")
    assert code == 0
    code, _, err = run("add", tmp_path / "run", data, encoding="utf-8")
    assert code == 2 and b"Traceback" not in err and b"\\udce9" in err and b"rename it" in err
