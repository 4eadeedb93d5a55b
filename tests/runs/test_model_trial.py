"""The trial of a run's model: before anything is measured, kept with the run, and made again when the model changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf.errors import ModelError
from adaptinf.runs import model_trial
from tests.helpers.conversations import BASE_PATH
from tests.helpers.families import FAMILIES
from tests.helpers.streams import rows, write_dataset, write_stream

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]


def stream(folder: Path, model: Path) -> Path:
    settings = {"path": str(model), "dtype": "float32", "max_length": 512}
    selection = {"method": "random_replay", "budget": 4}
    return write_stream(
        folder / "stream.yaml", [write_dataset(folder, "one", rows(8))], model=settings, selection=selection
    )


def test_a_run_keeps_its_trial_and_does_not_repeat_it(tmp_path, monkeypatch):
    model = shutil.copytree(BASE_PATH, tmp_path / "model")
    path = stream(tmp_path, model)
    made = []
    real = model_trial._try
    monkeypatch.setattr(model_trial, "_try", lambda run: made.append(1) or real(run))
    api.run(path, out=tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "trial.json").read_text())
    assert [own["name"] for own in kept["findings"]][:2] == ["token ids", "positions"]
    assert all(own["is_good"] for own in kept["findings"])
    api.run(path, out=tmp_path / "run")
    assert len(made) == 1
    api.add(tmp_path / "run", write_dataset(tmp_path, "two", rows(8, word="item"))["path"])
    api.step(tmp_path / "run")
    assert len(made) == 1
    (model / "generation_config.json").write_text("{}")
    api.accept(tmp_path / "run", "base")  # otherwise refused, as another base model
    api.add(tmp_path / "run", write_dataset(tmp_path, "three", rows(8, word="thing"))["path"])
    api.step(tmp_path / "run")
    assert len(made) == 2


def test_a_model_that_fails_is_refused_before_its_first_step_and_again(tmp_path):
    path = stream(tmp_path, FAMILIES["paligemma"].write(tmp_path / "model"))
    for _ in range(2):
        with pytest.raises(ModelError, match="a trial of model.path=.*causality: answers see what follows"):
            api.run(path, out=tmp_path / "run")
    assert not (tmp_path / "run" / "steps").exists() and not (tmp_path / "run" / "pool").exists()
