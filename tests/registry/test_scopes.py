"""Scopes: plug-ins of one run are unknown to another in the same process, whatever the order in which they work."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adaptinf import registry
from adaptinf.errors import ConfigError
from tests.helpers.plugin_files import METRIC, write_metric


def mine() -> float:
    return registry.metric["mine"]("", "")


def is_known(name: str = "mine") -> bool:
    return name in registry.metric.names()


def test_two_scopes_have_different_plug_ins_of_one_name_used_alternately(tmp_path):
    first = registry.open_scope([write_metric(tmp_path / "a.py", 0.25)])
    second = registry.open_scope([write_metric(tmp_path / "b.py", 0.75)])
    found = []
    for scope in (first, second, first, second):
        with scope.active():
            found.append(mine())
        assert not is_known()
    assert found == [0.25, 0.75, 0.25, 0.75]


def test_one_file_registers_in_every_scope_that_loads_it(tmp_path):
    path = write_metric(tmp_path / "a.py", 0.25)
    for _ in range(2):
        with registry.scope([path]):
            assert mine() == 0.25 and {"exact", "mine"} <= set(registry.metric.names())
        assert not is_known()


def test_a_file_is_executed_again_when_its_content_has_changed_and_only_then(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(METRIC.format(1.0) + f"with open({str(tmp_path / 'log')!r}, 'a') as log:\n    log.write('x')\n")
    before = path.stat()
    first = registry.open_scope([path])
    registry.open_scope([path])
    assert (tmp_path / "log").read_text() == "x"
    # As many characters, written in the same second.
    path.write_text(path.read_text().replace("1.0", "2.0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with registry.scope([path]):
        assert mine() == 2.0
    with first.active():
        assert mine() == 1.0
        registry.load_plugins([path])
        assert mine() == 2.0


def test_what_a_block_registers_is_unknown_outside_and_in_a_scope_inside():
    with registry.scope() as outer:
        registry.metric("mine")(lambda prediction, answer: 0.5)
        with registry.scope():
            assert not is_known() and is_known("exact")
        assert is_known() and repr(outer) == "Scope(1 of its own: metric mine)"
    assert not is_known()


def test_a_file_that_fails_half_way_registers_nothing(tmp_path):
    path = write_metric(tmp_path / "a.py", 0.5)
    path.write_text(path.read_text() + "raise RuntimeError('no luck')\n")
    with registry.scope():
        for _ in range(2):
            with pytest.raises(ConfigError, match="a.py cannot be imported: RuntimeError: no luck"):
                registry.load_plugins([path])
        assert not is_known()


def test_the_second_of_two_files_with_one_name_is_refused_however_often_it_was_loaded(tmp_path):
    first, second = write_metric(tmp_path / "a.py", 0.25), write_metric(tmp_path / "b.py", 0.75)
    for _ in range(2):
        with registry.scope([second]):
            assert mine() == 0.75
        with pytest.raises(ConfigError, match=r"b.py cannot be imported: ConfigError: two metrics are called 'mine'"):
            with registry.scope([first, second]):
                pass


def test_a_file_sees_what_files_before_it_registered(tmp_path):
    first = write_metric(tmp_path / "a.py", 0.25)
    second = tmp_path / "b.py"
    second.write_text(
        "from adaptinf.registry import metric\nhalf = metric['mine']\n\n"
        "@metric('twice')\ndef twice(prediction, answer):\n    return 2 * half(prediction, answer)\n"
    )
    with registry.scope([first, second]):
        assert registry.metric["twice"]("", "") == 0.5


def test_a_thread_sees_the_scope_in_a_copy_of_the_context(tmp_path):
    with registry.scope([write_metric(tmp_path / "a.py", 0.25)]), ThreadPoolExecutor(1) as pool:
        assert not pool.submit(is_known).result()
        assert pool.submit(contextvars.copy_context().run, is_known).result()


BUILT_IN = """from adaptinf import registry
with registry.scope():
    from adaptinf.selection.methods import multiway
    assert 'adapt' in registry.selector.names()
assert 'adapt' in registry.selector.names()
"""
IN_A_SCRIPT = """from adaptinf import registry
from adaptinf.registry import metric
registry.load_plugins(['a.py'])
metric('cell')(lambda prediction, answer: 1.0)
with registry.scope():
    print(registry.metric['mine']('', ''), registry.metric['cell']('', ''))
"""


def python(folder: Path, *words: str) -> str:
    """Run Python in a folder, as what it registers in the whole process must not reach other tests."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_built_in_file_that_is_first_imported_in_a_scope_is_known_outside_of_it(tmp_path):
    python(tmp_path, "-c", BUILT_IN)


def test_what_a_script_registers_outside_of_any_scope_is_known_in_all(tmp_path):
    write_metric(tmp_path / "a.py", 0.25)
    assert python(tmp_path, "-c", IN_A_SCRIPT) == "0.25 1.0\n"
