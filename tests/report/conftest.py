"""Two finished runs for all tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers.hostile_runs import IMAGE, accepted_renaming, make_runs


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> dict[str, Path]:
    """adapt (its pool is pruned to 16) beside random replay, both finished; read only."""
    return make_runs(tmp_path_factory.mktemp("runs"), methods=("adapt", "random_replay"))


@pytest.fixture
def adapt(runs, tmp_path) -> Path:
    """A copy of the adapt run, to be changed."""
    return Path(shutil.copytree(runs["adapt"], tmp_path / "adapt"))


@pytest.fixture(scope="session")
def hostile_runs(runs, tmp_path_factory) -> list[Path]:
    """Both runs with a source name that is markup, as a run folder made by somebody else may have it."""
    folder = tmp_path_factory.mktemp("hostile")
    found = []
    for method, path in runs.items():
        copy = shutil.copytree(path, folder / method)
        (copy / "pool" / "01-two").rename(copy / "pool" / f"01-{IMAGE}")
        found.append(Path(copy))
    return found


@pytest.fixture
def renamed_datasets():
    """Let the page be made of runs whose datasets were renamed in the pool."""
    with accepted_renaming():
        yield
