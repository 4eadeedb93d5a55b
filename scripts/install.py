"""Run `pip install` with the given arguments and print every few seconds how far it is.

.venv/bin/python scripts/install.py -c constraints.txt -e ".[dev]"

Needs the standard library alone, as nothing else is installed yet. If pip fails, its last lines are printed and its
exit code is returned.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

PIP_OPTIONS = ("--disable-pip-version-check", "--progress-bar", "off")
SIZE = "about 2 GB with a torch for CPUs, more with one for CUDA; one to ten minutes"
EVERY_SECONDS = 5.0
SHOWN_OF_A_FAILURE = 40
"""Lines of pip that are printed when it fails."""

NAME = re.compile(r"Collecting ([\w.-]+)")
WHEEL = re.compile(r"Processing \S*?([^/\s]+?)-\d")
"""A package that pip looks up: its name, or the path of its wheel."""
FILE = re.compile(r"(?:Downloading|Using cached) (\S+?)-(\d[^-]*)-\S+\.(?:whl|tar\.gz) \(([\d.]+) ([kMG]?)B\)")
"""A file that pip fetches: package, version and size."""
BYTES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


class Installation:
    """What pip has said so far, in one line."""

    def __init__(self, expected: int) -> None:
        """`expected` is the largest number of packages that there can be."""
        self.expected = expected
        self.num_found = 0
        self.num_bytes = 0.0
        self.newest = ""
        self.num_to_install = 0

    def read(self, line: str) -> None:
        """Take in one line of pip."""
        if package := NAME.match(line) or WHEEL.match(line):
            self.num_found += 1
            self.newest = package[1]
        elif file := FILE.match(line.strip()):
            self.num_bytes += float(file[3]) * BYTES[file[4]]
            self.newest = f"{file[1]} {file[2]} ({file[3]} {file[4]}B)"
        elif line.startswith("Installing collected packages: "):
            self.num_to_install = line.count(",") + 1

    def status(self, num_installed: int) -> str:
        """Return how far pip is: it looks up and fetches everything first, then installs it."""
        if self.num_to_install:
            return f"installed {min(num_installed, self.num_to_install)} of {self.num_to_install} packages"
        fetched = f", {self.num_bytes / 1e6:,.0f} MB fetched" if self.num_bytes else ""
        now = f", now {self.newest}" if self.newest else ""
        return f"found {self.num_found} of up to {max(self.expected, self.num_found)} packages{fetched}{now}"


def pinned(arguments: Sequence[str]) -> int:
    """Return how many packages the constraints files among pip's arguments pin."""
    files = [Path(after) for before, after in zip(arguments, arguments[1:], strict=False) if before == "-c"]
    return sum("==" in line for file in files for line in file.read_text(encoding="utf-8").splitlines())


def num_packages() -> int:
    """Return how many packages are installed where pip puts them."""
    return sum(1 for _ in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def report(installation: Installation, is_done: threading.Event) -> None:
    """Print a line every few seconds until pip is done."""
    begun, before = time.monotonic(), num_packages()
    while not is_done.wait(EVERY_SECONDS):
        print(f"  {time.monotonic() - begun:4.0f} s  {installation.status(num_packages() - before)}", flush=True)


def follow(lines: Iterable[str], installation: Installation) -> list[str]:
    """Read what pip prints until it ends, print its warnings at once, and return its last lines."""
    last: deque[str] = deque(maxlen=SHOWN_OF_A_FAILURE)
    for line in lines:
        installation.read(line)
        last.append(line)
        if line.startswith("WARNING: "):
            print(line, end="", flush=True)
    return list(last)


def main(arguments: Sequence[str]) -> int:
    """Install, and return pip's exit code."""
    installation = Installation(expected=pinned(arguments))
    print(f"installing up to {installation.expected} packages into {sys.prefix}: {SIZE}", flush=True)
    begun, is_done = time.monotonic(), threading.Event()
    reporter = threading.Thread(target=report, args=(installation, is_done), daemon=True)
    command = [sys.executable, "-m", "pip", "install", *PIP_OPTIONS, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        reporter.start()
        last = follow(pip.stdout, installation)
    is_done.set()
    reporter.join()
    if pip.returncode:
        print("".join(last), end="", file=sys.stderr)
        return pip.returncode
    print(f"installed in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
