"""StepFolders: one listing answers what `Layout` answers stage by stage."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.data import ARTIFACTS
from adaptinf.runs import Run
from adaptinf.runs.layout import BASE_STEP
from adaptinf.runs.step_folders import StepFolders
from adaptinf.storage import store

STEPS = (BASE_STEP, 0, 1, 2, 11)
NAMES = [name for kind in ARTIFACTS for name in (kind.stage, f"{kind.stage}.part")]


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.create(tmp_path / "run", RunConfig(stream=[DatasetConfig(name=f"d{n}", path="x") for n in range(12)]))


def assert_same(run: Run) -> None:
    found = StepFolders.of(run)
    assert (found.num_finished, found.num_begun) == (run.num_finished, run.num_begun)
    for step, kind in product(STEPS, ARTIFACTS):
        assert found.has(step, kind) == run.has(step, kind)
        assert found.is_making(step, kind) == store.part_of(run.stage_folder(step, kind)).exists()


@given(st.sets(st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES))))
def test_a_listing_says_of_each_stage_what_its_folder_says(tmp_path_factory, made):
    run = Run(folder=tmp_path_factory.mktemp("run"), config=RunConfig())
    for step, name in made:
        (run.step_folder(step) / name).mkdir(parents=True)
    assert_same(run)


def test_a_run_without_steps_has_none(run):
    assert_same(run)
    assert StepFolders.of(run).newest(12) == -1


def test_a_link_to_nothing_is_no_finished_stage_and_one_to_a_folder_is(run, tmp_path: Path):
    run.step_folder(0).mkdir(parents=True)
    run.stage_folder(0, ARTIFACTS[0]).symlink_to(tmp_path / "nothing")
    run.stage_folder(0, ARTIFACTS[1]).symlink_to(tmp_path)
    assert_same(run)
    assert not StepFolders.of(run).has(0, ARTIFACTS[0])
    assert StepFolders.of(run).has(0, ARTIFACTS[1])


def test_files_and_folders_of_other_names_among_the_steps_do_not_count(run):
    (run.steps_folder / "notes" / "pruning").mkdir(parents=True)
    (run.steps_folder / "01").write_text("no folder")
    assert_same(run)
    assert StepFolders.of(run).num_finished == 0


def test_the_newest_step_is_one_of_the_stream(run):
    for step in (3, 20):
        run.step_folder(step).mkdir(parents=True)
    assert StepFolders.of(run).newest(12) == 3
