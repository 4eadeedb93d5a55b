"""What all runs of a comparison share is fixed when it begins, and kept when a later version knows more settings."""

from __future__ import annotations

import pytest

from adaptinf.compare.folder import ComparisonFolder, shared_settings
from adaptinf.compare.variants import ComparisonRow
from adaptinf.config import DataConfig, ModelConfig, RunConfig
from adaptinf.errors import ConfigError
from adaptinf.storage import store

ROWS = [ComparisonRow(name="adapt", method="adapt", settings={})]


def test_all_runs_get_the_day_on_which_the_comparison_began(tmp_path, monkeypatch):
    folder = ComparisonFolder(tmp_path)
    monkeypatch.setattr(store, "utc_now", lambda: "2026-01-02T03:04:05+00:00")
    config = RunConfig(model=ModelConfig(date=folder.day()))
    folder.remember(ROWS, "stream", shared_settings(config))
    monkeypatch.setattr(store, "utc_now", lambda: "2027-08-09T10:11:12+00:00")
    assert folder.day() == config.model.date == "2026-01-02"


def test_a_comparison_of_a_version_without_a_setting_goes_on_with_its_default_only(tmp_path):
    folder = ComparisonFolder(tmp_path)
    former = shared_settings(RunConfig())
    del former["model.date"], former["data.max_pixels"]
    folder.remember(ROWS, "stream", former)
    assert folder.day() == "auto"
    folder.remember(ROWS, "stream", shared_settings(RunConfig()))
    with pytest.raises(ConfigError, match="data.max_pixels=40000000, now it is 7"):
        folder.remember(ROWS, "stream", shared_settings(RunConfig(data=DataConfig(max_pixels=7))))
