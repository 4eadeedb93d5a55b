"""Running an outside command to its end: its output goes into a file, its failure becomes one error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from adaptinf.errors import ConfigError
from adaptinf.outside.guardian import GRACE_SECONDS, KILL_SECONDS
from adaptinf.words import counted, escaped, format_seconds, shortened

TAIL_LINES = 20
"""Last lines of the log that an error shows."""
TAIL_BYTES = 2**16
"""Bytes from the end of the log that are read for them."""
SHOWN_LINE = 200
"""Characters of a line that are shown."""


def run_command(
    words: Sequence[str],
    *,
    place: str,
    folder: Path,
    log: Path,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> float:
    """Run a command without a shell until it has ended well, and return the seconds that it took.

    It gets no input. Whatever it has started is ended with it, and with this process, even if that is killed.

    Args:
        words: the program and its arguments.
        place: which setting the command is, for messages.
        folder: where it runs.
        log: file that its output and its errors are written into, as they come; made anew.
        timeout: seconds after which it is ended; None: it may take as long as it likes.
        environment: variables in addition to, or instead of, those of this process.

    Raises:
        ConfigError: it cannot be started, ended with another exit code than 0, was killed, or took too long; with the
            last lines of its log.
    """
    began = time.monotonic()
    job = {
        "words": list(words),
        "folder": str(folder),
        "log": str(log.absolute()),
        "environment": dict(environment or {}),
    }
    answer = _guarded(job, timeout)
    seconds = time.monotonic() - began
    failure = _failure(answer, timeout, seconds)
    if failure is None:
        return seconds
    if "problem" in answer:
        raise ConfigError(f"{place}: {shortened(words[0])!r} {failure}")
    raise ConfigError(f"{place}: {shortened(words[0])!r} {failure}; repair it and repeat the command. {log_tail(log)}")


def _failure(answer: Mapping[str, Any], timeout: float | None, seconds: float) -> str | None:
    """Return how a command failed, in a phrase; None: it did not."""
    if "problem" in answer:
        return f"cannot be started: {answer['problem']}"
    if answer.get("late"):
        return f"was ended after its timeout of {format_seconds(timeout or seconds)}"
    code = answer.get("code")
    if code is None:
        return "was lost: the process that watched it was killed, perhaps for lack of memory"
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was killed ({names.get(-code, f'signal {-code}')}), perhaps for lack of memory"
    return f"ended with exit code {code} after {format_seconds(seconds)}" if code else None


def _guarded(job: Mapping[str, Any], timeout: float | None) -> dict[str, Any]:
    """Return the guardian's answer about a job; empty where it died itself, with `late` where the time was over."""
    program = f"import sys; sys.path[:] = {sys.path!r}\nfrom adaptinf.outside.guardian import serve; serve()"
    guardian = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    assert guardian.stdin is not None and guardian.stdout is not None
    try:
        guardian.stdin.write(json.dumps(job).encode() + b"\n")
        guardian.stdin.flush()
        is_late = not wait([guardian.stdout.fileno()], timeout)
        guardian.stdin.close()
        line = guardian.stdout.readline()
    except BrokenPipeError:
        line, is_late = b"", False
    finally:
        # Whatever interrupts the wait, the closed input makes the guardian end the command.
        _closed(guardian)
    return {**(json.loads(line) if line else {}), **({"late": True} if is_late else {})}


def _closed(guardian: subprocess.Popen[bytes]) -> None:
    """Close the pipes to the guardian and wait until it has ended the command."""
    assert guardian.stdin is not None and guardian.stdout is not None
    try:
        guardian.stdin.close()
    except OSError:
        pass  # it is dead
    try:
        guardian.wait(timeout=2 * (GRACE_SECONDS + KILL_SECONDS))
    except subprocess.TimeoutExpired:
        pass  # something in the system cannot be ended; it goes on trying
    guardian.stdout.close()


def log_tail(log: Path) -> str:
    """Return the last lines of a log as the end of a message; of a line that was overwritten, its last state."""
    lines = _last_lines(log)
    if not lines:
        return f"It wrote nothing into {log}"
    shown = "".join(f"\n    {line}" for line in lines)
    return f"The last {counted(len(lines), 'line')} of {log}:{shown}"


def _last_lines(log: Path) -> list[str]:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    # A progress bar writes one line over and over, each time after a carriage return.
    states = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [shortened(escaped(line, kept="\t"), SHOWN_LINE) for line in states if line][-TAIL_LINES:]
