"""A user's typed program passes strict mypy against the built wheel, and a wrong one does not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import adaptinf

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "tests" / "fixtures" / "typed_client.py"
SETTINGS = """[mypy]
strict = True

# What the client never touches, and mypy would read for minutes.
[mypy-accelerate.*,datasets.*,peft.*,plotly.*,pyarrow.*,scipy.*,skimage.*,sklearn.*,torch.*,transformers.*]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel, with the build tools that are installed: no network."""
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("adaptinf-*.whl"))


@pytest.fixture(scope="module")
def user(tmp_path_factory, wheel) -> Path:
    """Return an environment with the wheel in it, and beside it what is installed here."""
    folder = tmp_path_factory.mktemp("user")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "mypy.ini").write_text(SETTINGS)
    return folder


def mypy(user: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Check a program that lies in the user's own folder."""
    client = user / "client.py"
    client.write_text(text)
    words = [sys.executable, "-m", "mypy", "--config-file", user / "mypy.ini", "--cache-dir", user / "cache"]
    words += ["--python-executable", user / "bin" / "python", client]
    # Without the path to this repository: mypy must find the installed package.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(words, cwd=user, env=environment, capture_output=True, text=True)


def test_the_wheel_has_the_marker_of_types_and_the_one_version(wheel):
    assert "adaptinf/py.typed" in zipfile.ZipFile(wheel).namelist()
    assert wheel.name.split("-")[1] == adaptinf.__version__


def test_a_typed_client_passes_strict_mypy(user):
    done = mypy(user, CLIENT.read_text())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("cluster(features.vectors, ids=features.ids, ", "cluster(features.vectors, ", 'Missing named argument "ids"'),
        ("budget=100", "budget='100'", 'has incompatible type "str"; expected "int"'),
        ("return run.folder", "return run.config", 'expected "Path"'),
        ("api.step(run_folder)", "api.step(run_folder, 1)", "Too many positional arguments"),
    ],
)
def test_a_client_that_uses_the_package_wrongly_does_not_pass(user, right, wrong, complaint):
    text = CLIENT.read_text()
    assert right in text
    done = mypy(user, text.replace(right, wrong))
    assert done.returncode == 1 and complaint in done.stdout
