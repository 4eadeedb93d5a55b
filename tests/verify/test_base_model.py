"""verify and the base model: its files are hashed again, as damage to a disk changes neither size nor times."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf.progress import Silent
from adaptinf.runs import Run
from adaptinf.runs.base import KeptBase, changed_base
from adaptinf.runs.identity import identities
from adaptinf.storage.digests import file_state

WEIGHTS = "model.safetensors"


@pytest.fixture
def base(run: Path, tmp_path: Path) -> Path:
    """A base model of the run's own, which its record knows by its present times."""
    folder, opened = tmp_path / "base", Run.open(run)
    shutil.copytree(opened.config.model.path, folder)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace(opened.config.model.path, str(folder)))
    trust(run, folder)
    return folder


def trust(run: Path, folder: Path) -> None:
    """Write the present sizes and times of the model's files into the record, beside the hashes that it has."""
    kept = KeptBase.read(run / "steps/base.json")
    assert kept is not None
    model = kept.models["model.path"]
    states = {name: file_state(folder / name) for name in model.files}
    replace(kept, models={"model.path": replace(model, path=str(folder), states=states)}).write(run / "steps/base.json")


def flip_silently(run: Path, folder: Path) -> None:
    """Change one bit of the weights as a disk does that leaves their times alone."""
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    trust(run, folder)


def test_a_base_model_as_it_was_is_whole_and_its_files_are_counted(run, base):
    before = api.verify(run)
    assert before.is_whole
    shutil.rmtree(base)
    assert api.verify(run).num_files < before.num_files


def test_a_flipped_bit_that_left_size_and_times_alone_is_found(run, base):
    flip_silently(run, base)
    opened, kept = Run.open(run), KeptBase.read(run / "steps/base.json")
    assert kept is not None
    assert identities(opened.settings, kept.models, Silent()) == kept.models  # what a run would find: nothing
    (damage,) = api.verify(run).damaged
    assert (damage.path, damage.what) == (base / WEIGHTS, "is not what the steps worked with (model.path)")
    assert damage.way_out.startswith("bring back a copy of this file")
    assert changed_base(opened) is not None


def test_stages_are_not_made_again_from_such_a_model(run, base):
    flip_silently(run, base)
    shutil.rmtree(run / "steps/01/clusters")
    (run / "steps/01/features/scores.parquet").write_bytes(b"")
    found = api.verify(run, repair=True)
    assert found.removed == ()
    assert (run / "steps/01/features").exists()


def test_of_a_damaged_record_the_record_alone_is_named(run, base):
    flip_silently(run, base)
    record = run / "steps/base.json"
    record.write_text(record.read_text().replace("model.path", "model.pato", 1))
    assert [one.path for one in api.verify(run).damaged] == [record]
