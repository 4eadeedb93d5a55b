"""A run folder that has lost a file: what a step needs of it is named with the way out."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Clusters, Evaluation, SavedPruning, Selection, Trained
from adaptinf.errors import AdaptError, StoreError
from adaptinf.pipeline import run_all, run_step
from adaptinf.runs import Run, overrule
from adaptinf.runs.learners import learner_after
from adaptinf.runs.status import status_of
from adaptinf.storage import store, tables
from tests.helpers.run_folders import content, unseal
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = pytest.mark.usefixtures("one_thread")

NEEDED = {
    "lora": {"model/adapter_config.json", "model/adapter_model.safetensors"},
    "full": {"model/config.json", "model/model.safetensors", "model/tokenizer.json", "model/processor_config.json"},
}
"""Files of a finished step that the next one needs, of its weights."""


@pytest.fixture(scope="module", params=["lora", "full"])
def begun(request, tmp_path_factory):
    """A run of two steps whose first is finished, and the way in which it is trained."""
    folder = tmp_path_factory.mktemp(request.param)
    datasets = [write_dataset(folder, name, rows(10, word=name)) for name in ("one", "two")]
    tests = [write_test(folder, "sums", rows(4))]
    stream = write_stream(folder / "s.yaml", datasets, tests, training={"tune": request.param})
    run = Run.create(folder / "run", configuration.load(stream))
    run_all(run, num_steps=1)
    return request.param, run.folder


@pytest.fixture
def damaged(begun, tmp_path):
    """A copy of that run."""
    shutil.copytree(begun[1], tmp_path / "run")
    return Run.open(tmp_path / "run")


def refusal(run: Run, step: int = 1) -> str:
    with pytest.raises(AdaptError) as caught:
        run_step(run, step)
    return str(caught.value)


def lost(run: Run, path: str) -> Path:
    """Delete a file or folder of the run, and return its path."""
    place = run.folder / path
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    return place


def test_weights_that_are_gone_are_named_with_the_step_and_the_command(begun, damaged):
    for name in sorted(NEEDED[begun[0]]):
        copy = damaged.folder / "steps" / "00" / name
        saved = copy.read_bytes()
        copy.unlink()
        message = refusal(damaged)
        assert f"{copy.parent} lacks {copy.name}: bring back a copy, or delete {damaged.folder / 'steps/00'}" in message
        assert f"adaptinf step {damaged.folder}, which makes these steps again from the base model" in message
        copy.write_bytes(saved)


def test_weights_that_are_cut_off_are_named(begun, damaged):
    (path,) = (damaged.folder / "steps/00/model").glob("*.safetensors")
    for length in (path.stat().st_size - 1, 20, 3, 0):
        path.write_bytes(path.read_bytes()[:length])
        assert f"lacks the end of {path.name}" in refusal(damaged)


@pytest.mark.parametrize("stage", ["model", "pruning", "evaluation"])
def test_a_stage_that_is_gone_is_named(damaged, stage):
    (damaged.folder / "steps" / "01").mkdir()
    place = lost(damaged, f"steps/00/{stage}")
    step = 0 if stage == "pruning" else 1
    message = refusal(damaged, step)
    assert f"{place} is missing: bring back a copy, or delete {place.parent} and all later steps" in message


def test_a_dataset_that_has_gone_from_the_pool_is_named(damaged):
    place = lost(damaged, "pool/00-one")
    message = refusal(damaged)
    assert f"{place} is missing, and with it the samples that arrived at step 0; bring back a copy" in message


@pytest.mark.parametrize("place", ["pool/00-one", "steps/00/selection", "steps/00/evaluation", "steps/config.yaml"])
def test_commands_that_show_a_run_refuse_one_that_has_lost_a_folder(damaged, place):
    gone = lost(damaged, place)
    id = "one/000"
    for show in (api.report, partial(api.explain, id=id), partial(api.export, step=0, out=damaged.folder / "out")):
        with pytest.raises(StoreError, match=f"{gone} is missing.*bring back a copy"):
            show(damaged.folder)
    assert api.explain(damaged.folder, id, verify=False) if place != "pool/00-one" else True


def test_status_says_what_a_step_has_lost(damaged):
    lost(damaged, "steps/00/selection")
    assert status_of(damaged).steps[0].lost == ("selection",)


def test_corrections_of_the_pool_that_are_gone_are_missed(damaged):
    overrule.withdraw(damaged, "one")
    place = damaged.pool_folder / "withdrawn.jsonl"
    before = place.read_bytes()
    for left in (None, b""):
        place.unlink() if left is None else place.write_bytes(left)
        for use in (partial(run_step, damaged, 1), partial(status_of, damaged), partial(api.report, place.parents[1])):
            with pytest.raises(StoreError, match=f"{place} is missing or empty, but the pool was corrected 1 time"):
                use()
        assert [item.path for item in api.verify(damaged.folder).damaged] == [place]
    place.write_bytes(b"\n")  # undone on purpose
    assert status_of(damaged).withdrawn == {}
    place.write_bytes(before)
    assert api.verify(damaged.folder).damaged == ()


def test_settings_that_are_gone_are_not_made_anew(damaged):
    place = lost(damaged, "steps/config.yaml")
    assert f"{place} is missing, which holds the settings" in refusal(damaged)
    assert not place.exists()


@pytest.mark.parametrize("name", ["vectors.npy", "embeddings.npy"])
def test_arrays_of_an_unfinished_step_are_missed(damaged, name):
    for kind in (Clusters, Selection, Trained, Evaluation, SavedPruning):
        shutil.rmtree(damaged.stage_folder(0, kind))
    place = lost(damaged, f"steps/00/features/{name}")
    assert f"{place} is missing; bring back a copy" in refusal(damaged, 0)
    unseal(damaged.folder)
    assert f"{place} is missing or does not fit" in refusal(damaged, 0)


def test_the_way_out_leads_out(damaged, begun, tmp_path):
    """The weights are gone after the second step: both steps are made again, with the same results."""
    whole = Run.open(damaged.folder)
    run_all(whole)
    expected = content(damaged.folder)
    lost(damaged, "steps/00/model")
    with pytest.raises(StoreError, match="is missing"):
        learner_after(damaged, 0)
    for step in ("00", "01"):
        lost(damaged, f"steps/{step}")
    again = Run.open(damaged.folder)
    run_step(again, 0)
    run_step(again, 1)
    found = content(damaged.folder)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_weights_of_version_0_1_are_looked_at_without_a_list(begun, damaged):
    unseal(damaged.folder)
    info = damaged.folder / "steps/00/model/info.json"
    values = tables.read_json(info)
    del values["files"]
    store.write_json_whole(info, values)
    (path,) = (damaged.folder / "steps/00/model").glob("*.safetensors")
    path.unlink()
    assert f"lacks {path.name}" in refusal(damaged)


@pytest.mark.slow
def test_whatever_file_is_lost_the_next_step_is_the_same_or_names_it(begun, tmp_path):
    tune, folder = begun
    shutil.copytree(folder, tmp_path / "whole")
    run_step(Run.open(tmp_path / "whole"), 1)
    expected = {name: text for name, text in content(tmp_path / "whole").items() if name.startswith("steps/01/")}
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = [name for name in files if name.startswith(("steps/", "pool/", "base/"))]
    refused = set()
    for number, name in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        run = Run.open(copy)
        place = lost(run, name)
        try:
            run_step(run, 1)
        except AdaptError as error:
            message = str(error)
            assert place.name in message and str(place.parent) in message, message
            assert "bring back a copy" in message, message
            refused.add(name)
        else:
            found = {name: text for name, text in content(copy).items() if name.startswith("steps/01/")}
            assert [other for other in expected if found.get(other) != expected[other]] == [], name
        shutil.rmtree(copy)
    assert {f"steps/00/{name}" for name in NEEDED[tune]} <= refused
    needed = {f"steps/00/pruning/{SavedPruning.SAMPLES}", f"steps/00/evaluation/{Evaluation.MATRIX}"}
    assert needed | {"steps/config.yaml", "pool/00-one/data-00000-of-00001.arrow"} <= refused


def test_a_step_folder_beyond_the_stream_is_nobodys_step(damaged):
    (damaged.steps_folder / "07").mkdir()
    run_step(damaged, 1)
    assert damaged.num_finished == 2 and (damaged.steps_folder / "07").is_dir()
