"""doctor: the packages of this machine, and those that only some models need."""

from __future__ import annotations

import importlib.metadata

import pytest

from adaptinf.doctor.machine import examine

REQUIRES = ["numpy>=1", "torchvision>=0.21; extra == 'vision'", "pytest>=1; extra == 'vision'", "ray; extra == 'ray'"]


@pytest.fixture
def checks(tmp_path, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "torchvision":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: REQUIRES)
    return {check.name: check for check in examine(tmp_path)}


def test_a_package_that_only_some_models_need_is_named_with_its_command_and_is_no_fault(checks):
    found = checks["torchvision"]
    assert found.is_good and found.value == "not installed" and "pip install 'adaptinf[vision]'" in found.advice
    assert checks["pytest"].value == importlib.metadata.version("pytest")
    assert "ray" not in checks, "nothing but a setting asks for it"
