"""Two finished runs of two steps, with what an uninterrupted run leaves: one that measures, one that does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf.verify import Verified
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

METHODS = ("adapt_plus", "random_replay")


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory):
    """Return method -> run folder; nobody changes these."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    for method in METHODS:
        folder = tmp_path_factory.mktemp(method)
        datasets = [write_dataset(folder, name, rows(14, word=name)) for name in ("one", "two")]
        tests = [write_test(folder, "sums", rows(4)[1::2]), write_test(folder, "colours", rows(4)[::2])]
        stream = write_stream(
            folder / "s.yaml", datasets, tests, selection={"method": method}, training={"tune": "lora"}
        )
        api.run(stream, out=folder / "run")
        found[method] = folder / "run"
    torch.set_num_threads(before)
    return found


@pytest.fixture
def run(finished_runs, tmp_path) -> Path:
    """A copy of the run that measures."""
    shutil.copytree(finished_runs["adapt_plus"], tmp_path / "run", symlinks=True)
    return tmp_path / "run"


@pytest.fixture
def replay(finished_runs, tmp_path) -> Path:
    """A copy of the run that measures nothing."""
    shutil.copytree(finished_runs["random_replay"], tmp_path / "replay", symlinks=True)
    return tmp_path / "replay"


def named(found: Verified) -> set[str]:
    """Return the paths of the damage, below the run folder."""
    return {one.path.relative_to(found.folder).as_posix() for one in found.damaged}
