"""The lock of a folder: one process at a time, whatever becomes of its file, and nobody else's file is touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptinf.errors import StoreError
from adaptinf.storage import lock

HOLD = """
import sys
from pathlib import Path
from adaptinf.storage import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path, code: str = HOLD) -> subprocess.Popen[str]:
    """Return another process that holds the lock of a folder until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.05)


def test_the_lock_names_the_process_that_holds_it_and_ends_with_it(tmp_path):
    with hold(tmp_path) as holder:
        assert lock.holder(tmp_path) == lock.Holder(holder.pid)
        with pytest.raises(StoreError, match=f"in use by process {holder.pid}"), lock.held(tmp_path):
            pass
        holder.kill()
    assert lock.holder(tmp_path) is None
    with lock.held(tmp_path):
        assert (tmp_path / lock.LOCK_NAME).read_text() == str(os.getpid())
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize("change", ["delete", "replace"])
def test_a_lock_file_that_is_deleted_or_replaced_lets_no_second_process_in(tmp_path, change):
    with hold(tmp_path) as holder:
        (tmp_path / lock.LOCK_NAME).unlink()
        if change == "replace":
            (tmp_path / lock.LOCK_NAME).write_text("1")
        with pytest.raises(StoreError, match="is in use by process"), lock.held(tmp_path):
            pass
        assert lock.holder(tmp_path) is not None
        holder.kill()
    with lock.held(tmp_path):
        pass


def test_a_lock_file_that_is_replaced_before_it_is_locked_is_opened_again(tmp_path, monkeypatch):
    path, real, replaced = tmp_path / lock.LOCK_NAME, lock.could_take, []

    def slow(descriptor, *args, **options):
        if not replaced and path.exists():
            path.unlink()
            path.write_text("")
            replaced.append(path.stat().st_ino)
        return real(descriptor, *args, **options)

    monkeypatch.setattr(lock, "could_take", slow)
    with lock.held(tmp_path):
        assert replaced and path.stat().st_ino == replaced[0] and path.read_text() == str(os.getpid())


def _symlink(path: Path) -> None:
    path.symlink_to(path.with_name("victim"))


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


STRANGE = {
    "symlink": _symlink,
    "loop": _loop,
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "socket": _socket,
    "hard link": lambda path: path.hardlink_to(path.with_name("victim")),
    "huge": lambda path: path.write_text("1" * 100_000),
    "binary": lambda path: path.write_bytes(b"\xff\x00\x1b[31m"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_lock_file_is_neither_followed_nor_written_and_named_in_one_line(tmp_path, kind):
    victim = tmp_path / "victim"
    victim.write_text("a text of somebody else")
    STRANGE[kind](tmp_path / lock.LOCK_NAME)
    with pytest.raises(StoreError, match=r"\.lock is no lock file of adaptinf") as caught, lock.held(tmp_path):
        pass
    assert victim.read_text() == "a text of somebody else"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400
    assert lock.holder(tmp_path) is None


def test_whatever_a_held_lock_file_says_is_not_shown(tmp_path):
    with hold(tmp_path) as holder:
        (tmp_path / lock.LOCK_NAME).write_bytes(b"\xff\x1b[31m" * 100_000)
        with pytest.raises(StoreError, match="in use by process unknown"), lock.held(tmp_path):
            pass
        holder.kill()


def test_a_forked_child_does_not_keep_the_lock_of_a_parent_that_died(tmp_path):
    """As the workers of a data loader, which live on for a while."""
    code = HOLD.replace(
        "    print(", "    import os, time\n    if not os.fork():\n        time.sleep(60)\n    print(", 1
    )
    with hold(tmp_path, code) as holder:
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        holder.kill()
        holder.wait()
        try:
            with lock.held(tmp_path):
                pass
        finally:
            for child in children:
                os.kill(int(child), signal.SIGKILL)


def test_looking_at_the_lock_keeps_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 5.0)
    code = HOLD.replace("lock.held(Path(sys.argv[1]))", "open(0)").replace(
        "    sys.stdin.read()", "    while True: lock.holder(Path(sys.argv[1]))"
    )
    with hold(tmp_path, code) as looking:
        end, count = time.monotonic() + 0.5, 0
        while time.monotonic() < end:
            with lock.held(tmp_path):
                count += 1
        looking.kill()
    assert count > 10


def test_a_folder_that_cannot_be_locked_is_locked_by_its_file(tmp_path, monkeypatch):
    """As on NFS, which refuses a lock on what is not open for writing."""
    real = lock.fcntl.flock

    def only_files(descriptor, kind):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(9, "Bad file descriptor")
        real(descriptor, kind)

    monkeypatch.setattr(lock.fcntl, "flock", only_files)
    with hold(tmp_path) as holder:
        with pytest.raises(StoreError, match=f"in use by process {holder.pid}"), lock.held(tmp_path):
            pass
        holder.kill()
    with lock.held(tmp_path):
        pass
