"""The run in this process that runs of other executors are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.executor_runs import bytes_of, finished_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs of a module lie: paths of images are a part of what a run depends on."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def here(place: Path, one_thread: None) -> dict[str, bytes]:
    """The files of a run in this process."""
    return bytes_of(finished_run(place / "local", "local"))
