"""Plug-ins of installed packages: loaded by their entry points, once, at the first lookup; a broken one is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adaptinf import registry

ROOT = Path(__file__).parents[2]
HALF = """from adaptinf.registry import metric

@metric('half')
def half(prediction, answer):
    'Always one half.'
    return 0.5
"""
NAMES = """import json
from adaptinf import registry
print(json.dumps(registry.metric.names()))
"""
ORDER = """import adaptinf.cli
from adaptinf import registry
print('asks')
registry.scorer.names()
registry.metric['half']
"""
TWICE = """from adaptinf import registry
from adaptinf.errors import ConfigError
for _ in range(2):
    try:
        registry.metric['exact']
    except ConfigError as error:
        print(str(error).split(':')[0])
"""
CALLED = """def register():
    from adaptinf import registry
    assert 'exact' in registry.metric.names()
    registry.metric('half')(lambda prediction, answer: 0.5)
"""


@pytest.fixture
def site(tmp_path):
    """Return a function that writes an installed package `acme-scores` into a folder, and the folder."""

    def install(entry_point: str, code: str, package: str = "acme-scores") -> Path:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[adaptinf.plugins]\n{entry_point}\n")
        return tmp_path

    return install


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the packages of `folder` are installed: what they register must not reach other tests."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, "-W", "error", *words], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("entry_point", "code"),
    [("half = acme_scores", HALF), ("half = acme_scores:half", HALF), ("all = acme_scores:register", CALLED)],
    ids=["module", "plug-in", "function that asks for a name itself"],
)
def test_a_package_brings_plug_ins_in_by_an_entry_point(site, entry_point, code):
    done = python(site(entry_point, code), "-c", NAMES)
    assert (json.loads(done.stdout), done.stderr) == (sorted([*registry.metric.names(), "half"]), "")


def test_a_package_is_imported_once_and_not_before_a_name_is_asked_for(site):
    folder = site("half = acme_scores", f"print('imported')\n{HALF}")
    assert python(folder, "-c", ORDER).stdout.split() == ["asks", "imported"]


def test_the_list_says_which_package_a_plug_in_comes_from(site):
    folder = site("half = acme_scores", HALF)
    done = python(folder, "-m", "adaptinf", "list")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["half"].endswith("Always one half. (from acme_scores)")
    assert "(from" not in lines["exact"]
    as_json = json.loads(python(folder, "-m", "adaptinf", "list", "--json").stdout)
    assert as_json["metric"]["half"] == "Always one half."


@pytest.mark.parametrize(
    ("entry_point", "code", "reason"),
    [
        ("half = acme_scores", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("half = acme_scores:gone", HALF, "AttributeError: module 'acme_scores' has no attribute 'gone'"),
        ("half = acme_scores:start", "def start():\n    raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("half = acme_scores", HALF.replace("'half'", "'exact'"), "ConfigError: two metrics are called 'exact'"),
    ],
)
def test_a_package_that_fails_is_named_with_its_entry_point_and_the_way_out(site, entry_point, code, reason):
    done = python(site(entry_point, code), "-m", "adaptinf", "list")
    said = " ".join(done.stderr.split())
    assert done.returncode == 2 and "Traceback" not in said
    assert f"acme-scores: its entry point {entry_point} (adaptinf.plugins) cannot be loaded: {reason}" in said
    assert said.endswith("fix the package, or remove it: pip uninstall acme-scores")


def test_a_package_that_failed_fails_again_instead_of_being_left_out(site):
    folder = site("half = acme_scores", "import no_such_module")
    assert python(folder, "-c", TWICE).stdout.split() == ["acme-scores"] * 2


def test_a_users_file_that_takes_the_name_of_a_package_is_the_one_refused(site, tmp_path):
    folder = site("half = acme_scores", HALF)
    mine = tmp_path / "mine.py"
    mine.write_text(HALF)
    done = python(folder, "-m", "adaptinf", "list", "--plugins", str(mine))
    assert done.returncode == 2
    assert "mine.py cannot be imported: ConfigError: two metrics are called 'half'" in " ".join(done.stderr.split())
