"""Outside commands are run to their end, and end with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptinf.errors import ConfigError
from adaptinf.outside import run_command

FAMILY = """
import os, subprocess, sys, time
# A child in a session of its own, as torchrun starts its workers, and a daemon that nobody waits for.
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", {mark!r}], start_new_session=True)
if os.fork() == 0:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", {mark!r}], start_new_session=True)
    os._exit(0)
print("started", flush=True)
{then}
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def run(tmp_path: Path, text: str, **options):
    return run_command(python(text), place="training.command", folder=tmp_path, log=tmp_path / "log.txt", **options)


def processes_with(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not is_dead and mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def wait_until(is_true, what: str) -> None:
    end = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_output_goes_into_the_log_and_the_environment_and_folder_are_as_given(tmp_path):
    text = "import os, sys; print(os.getcwd(), os.environ['NAME'], flush=True); print('error', file=sys.stderr)"
    seconds = run(tmp_path, text, environment={"NAME": "value"})
    assert (tmp_path / "log.txt").read_text() == f"{tmp_path.resolve()} value\nerror\n"
    assert 0 < seconds < 60


def test_a_command_gets_no_input(tmp_path):
    run(tmp_path, "import sys; assert sys.stdin.read() == ''")


def test_a_failure_shows_the_last_twenty_lines(tmp_path):
    with pytest.raises(ConfigError) as error:
        run(
            tmp_path,
            "[print('line', n) for n in range(50)]; print('0 %\\r50 %\\r100 %\\n\\x1b[31m!'); raise SystemExit(3)",
        )
    first, *lines = str(error.value).split("\n")
    assert "training.command: " in first
    assert "ended with exit code 3 after" in first
    assert first.endswith(f"The last 20 lines of {tmp_path / 'log.txt'}:")
    assert lines[-2:] == ["    100 %", "    \\x1b[31m!"]
    assert len(lines) == 20
    assert lines[0] == "    line 32"


def test_a_failure_without_output_says_so(tmp_path):
    with pytest.raises(ConfigError, match="It wrote nothing into"):
        run(tmp_path, "raise SystemExit(1)")


def test_a_long_log_is_not_read_whole(tmp_path):
    with pytest.raises(ConfigError) as error:
        run(tmp_path, "print('x' * 10_000_000, end='', flush=True); raise SystemExit(1)")
    assert len(str(error.value)) < 1000


def test_a_killed_command_is_named_as_such(tmp_path):
    with pytest.raises(ConfigError, match=r"was killed \(SIGKILL\)"):
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")


def test_a_missing_program_or_folder_is_one_line(tmp_path):
    for words, folder in ((["no-such-program"], tmp_path), (["sh"], tmp_path / "gone")):
        with pytest.raises(ConfigError, match="cannot be started") as error:
            run_command(words, place="training.command", folder=folder, log=tmp_path / "log.txt")
        assert "\n" not in str(error.value)


def test_what_a_finished_command_left_running_is_ended(tmp_path):
    mark = f"mark-{os.getpid()}-finished"
    run(tmp_path, FAMILY.format(mark=mark, then=""))
    assert processes_with(mark) == []


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(tmp_path):
    mark = f"mark-{os.getpid()}-late"
    with pytest.raises(ConfigError, match=r"was ended after its timeout of 1\.5 s.*\n    started"):
        run(tmp_path, FAMILY.format(mark=mark, then="time.sleep(60)"), timeout=1.5)
    assert processes_with(mark) == []


def test_a_command_may_tidy_up_before_it_is_killed(tmp_path):
    text = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), print('tidy', flush=True), sys.exit(0)))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with pytest.raises(ConfigError, match="timeout"):
        run(tmp_path, text, timeout=1.5)
    assert (tmp_path / "log.txt").read_text() == "ready\ntidy\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_command_ends_with_us_however_we_end(tmp_path, number):
    mark = f"mark-{os.getpid()}-{number}"
    text = FAMILY.format(mark=mark, then="time.sleep(60)")
    program = (
        "import sys; from pathlib import Path; from adaptinf.outside import run_command\n"
        f"run_command({python(text)!r}, place='x', folder=Path('.'), log=Path({str(tmp_path / 'log.txt')!r}))"
    )
    with subprocess.Popen(python(program), stderr=subprocess.DEVNULL) as parent:
        wait_until(lambda: len(processes_with(mark)) == 2, "the command did not start")
        os.kill(parent.pid, number)
    wait_until(lambda: not processes_with(mark), "the command goes on without us")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_guardian_that_is_ended_ends_the_command(tmp_path):
    mark = f"mark-{os.getpid()}-guardian"
    text = FAMILY.format(mark=mark, then="os.kill(os.getppid(), 15); time.sleep(60)")
    with pytest.raises(ConfigError, match="was killed"):
        run(tmp_path, text)
    assert processes_with(mark) == []
