"""Installing prints how far it is, and what pip said where it fails."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from scripts.install import Installation, pinned

SCRIPT = Path(__file__).parents[2] / "scripts" / "install.py"
LINES = """\
Obtaining file:///somewhere
  Installing build dependencies: started
Collecting numpy>=2.1 (from adaptinf==0.1.0)
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (16.9 MB)
Collecting mkdocs-material>=9.5 (from adaptinf==0.1.0)
  Using cached mkdocs_material-9.8.2-py3-none-any.whl (900 kB)
Processing /wheels/torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl (from adaptinf==0.1.0)
Requirement already satisfied: packaging in ./site-packages (26.3)
Collecting nvidia-cublas (from torch)
  Downloading nvidia_cublas-13.1-py3-none-manylinux2014_x86_64.whl.metadata (1.7 kB)
Downloading nvidia_cublas-13.1-py3-none-manylinux2014_x86_64.whl (0.5 GB)
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True)


def test_the_status_counts_what_pip_found_and_fetched():
    installation = Installation(expected=4)
    statuses = []
    for line in LINES.splitlines(keepends=True):
        installation.read(line)
        statuses.append(installation.status(0))
    assert statuses[1] == "found 0 of up to 4 packages"
    assert statuses[2] == "found 1 of up to 4 packages, now numpy"
    assert statuses[3] == "found 1 of up to 4 packages, 17 MB fetched, now numpy 2.4.6 (16.9 MB)"
    assert statuses[5] == "found 2 of up to 4 packages, 18 MB fetched, now mkdocs_material 9.8.2 (900 kB)"
    assert statuses[7] == "found 3 of up to 4 packages, 18 MB fetched, now torch"
    assert statuses[9] == "found 4 of up to 4 packages, 18 MB fetched, now nvidia-cublas"
    assert statuses[10] == "found 4 of up to 4 packages, 518 MB fetched, now nvidia_cublas 13.1 (0.5 GB)"


def test_the_status_counts_what_is_installed_once_everything_is_fetched():
    installation = Installation(expected=4)
    installation.read("Installing collected packages: numpy, torch, tqdm\n")
    assert installation.status(2) == "installed 2 of 3 packages"
    # What a package replaces is not counted twice.
    assert installation.status(5) == "installed 3 of 3 packages"


def test_the_constraints_say_how_many_packages_there_can_be(tmp_path):
    (tmp_path / "pins.txt").write_text("# Tested.\nnumpy==2.4.6\ntorch==2.13.0\n")
    assert pinned(["-c", str(tmp_path / "pins.txt"), "-e", "."]) == 2
    assert pinned(["-e", "."]) == 0


def test_a_package_is_installed_with_a_first_and_a_last_line(tmp_path):
    wheel = tmp_path / "acme-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("acme.py", "")
        archive.writestr("acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        archive.writestr("acme-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("acme-1.0.dist-info/RECORD", "")
    done = run("--no-index", "--target", tmp_path / "there", wheel)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("installing up to ") and last.startswith("installed in ")
    assert (tmp_path / "there" / "acme.py").is_file()


def test_a_failure_prints_what_pip_said_and_keeps_its_exit_code():
    done = run("--no-index", "no-such-package")
    assert done.returncode == 1
    assert "No matching distribution found for no-such-package" in done.stderr
    assert "installed in" not in done.stdout
