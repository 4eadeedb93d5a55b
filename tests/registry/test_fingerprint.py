"""Fingerprints: a worker in another process works with the same plug-ins as the process that started it, or refuses."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from adaptinf import registry
from adaptinf.errors import ConfigError
from adaptinf.registry import Fingerprint
from tests.helpers.plugin_files import write_metric


def value_in_worker(wanted: Fingerprint) -> float:
    with registry.scope_like(wanted):
        assert pickle.loads(pickle.dumps(registry.fingerprint())) == wanted
        return registry.metric["mine"]("", "")


def test_a_spawned_worker_has_the_plug_ins_of_the_scope_that_it_works_for(tmp_path):
    scopes = [
        registry.open_scope([write_metric(tmp_path / f"{name}.py", value)])
        for name, value in (("a", 0.25), ("b", 0.75))
    ]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = []
        for scope in (*scopes, scopes[0]):
            with scope.active():
                found.append(pool.submit(value_in_worker, registry.fingerprint()).result())
    assert found == [0.25, 0.75, 0.25]


def test_a_plug_in_file_that_changed_after_the_work_began_is_refused(tmp_path):
    path = write_metric(tmp_path / "a.py", 0.25)
    with registry.scope([path]):
        wanted = registry.fingerprint()
    write_metric(path, 0.75)
    with pytest.raises(ConfigError, match=r"plugins: .*a.py changed after the work began; start it again"):
        with registry.scope_like(wanted):
            pass
    path.unlink()
    assert wanted.changed_files() == [str(path)]


def test_a_worker_that_lacks_a_plug_in_of_no_file_or_has_one_more_is_refused():
    with registry.scope():
        registry.metric("mine")(lambda prediction, answer: 0.5)
        wanted = registry.fingerprint()
    with pytest.raises(ConfigError, match="a worker process has other plug-ins: it lacks the metrics mine; list the"):
        with registry.scope_like(wanted):
            pass
    with registry.scope():
        plain = registry.fingerprint()
    assert plain.difference(wanted) == "it has the additional metrics mine" and plain.difference(plain) == ""


def test_a_worker_with_another_version_of_a_package_is_refused():
    here = registry.fingerprint()
    one, other = replace(here, packages=("acme-scores 1.0",)), replace(here, packages=())
    assert one.difference(other) == ("it has the plug-in packages none, the process that started it acme-scores 1.0")
