"""A run's config.yaml that cannot be its own is refused by every command with one line; moved files are allowed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Checked, SavedPruning
from adaptinf.data.checked import CONTENT
from adaptinf.errors import ConfigError, StoreError
from adaptinf.pipeline import run_all
from adaptinf.pool.intake import content_of
from adaptinf.runs import Run, preflight, stream
from tests.helpers.run_folders import content, edit_config
from tests.helpers.streams import rows, write_dataset, write_stream, write_test


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of two datasets that have joined; its first step is finished, as far as the folders say."""
    datasets = [write_dataset(tmp_path, name, rows(6, word=name)) for name in ("one", "two")]
    path = write_stream(tmp_path / "stream.yaml", datasets, selection={"method": "random_replay"})
    made = Run.create(tmp_path / "run", configuration.load(path))
    for step in (0, 1):
        stream.join(made, step)
    made.pin_settings()
    SavedPruning(table=_nothing(), num_kept=6).save(_new(made.stage_folder(0, SavedPruning)))
    return Run.open(made.folder)


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _nothing():
    import numpy as np

    from adaptinf.data.pruning import Pruning
    from adaptinf.storage.tables import text_array

    none = np.zeros(0, np.int64)
    pruning = Pruning(kept=np.arange(6), removed=none, neighbour=none, similarity=none.astype(np.float32))
    return pruning.table(text_array([f"one/{number:03d}" for number in range(6)]), np.zeros(6, np.int64))


VERBS = (
    ("status", "RUN"),
    ("run", "STREAM", "--out", "RUN"),
    ("step", "RUN"),
    ("report", "RUN"),
    ("explain", "RUN", "one/000"),
    ("export", "RUN", "--step", "0"),
    ("restore", "RUN", "one/000"),
    ("withdraw", "RUN", "one"),
    ("accept", "RUN", "base"),
    ("relocate", "RUN", "a", "b"),
)


def refused(run: Run, call, *, by=VERBS) -> str:
    """Return the one line with which every command refuses the run; nothing of it has changed."""
    before, lines = content(run.folder), set()
    for verb in by:
        words = [{"RUN": run.folder, "STREAM": run.folder.parent / "stream.yaml"}.get(word, word) for word in verb]
        code, out, err = call(*words)
        assert code == 2 and not out, (verb, out, err)
        lines.add(err.strip())
    assert content(run.folder) == before
    assert len(lines) == 1, lines
    (line,) = lines
    assert "\n" not in line
    return line


def test_an_empty_file_is_refused(run, call):
    run.config_file.write_text("")
    assert "lists 0 datasets under stream, but 1 step of the run have begun; bring back a copy" in refused(run, call)


def test_a_file_that_was_cut_off_is_refused(run, call):
    text = run.config_file.read_text()
    run.config_file.write_text(text[: text.index("made_by")])
    assert f"has no made_by, so no run has written it: bring back a copy, or copy {run.pinned_config_file}" in refused(
        run, call
    )


def test_a_file_without_its_model_is_refused(run, call):
    settings = yaml.safe_load(run.config_file.read_text())
    del settings["model"]
    run.config_file.write_text(yaml.safe_dump(settings))
    assert "names no model, but the run's steps have one" in refused(run, call)


def test_a_stream_that_was_reordered_or_renamed_is_refused(run, call):
    one, two = run.config.stream
    edit_config(run.folder, run.config.model_copy(update={"stream": [two, one]}))
    assert "has 'two' as dataset number 0 of the stream, but 'one' joined the pool at that place" in refused(run, call)
    edit_config(run.folder, run.config.model_copy(update={"stream": [one, two.model_copy(update={"name": "zwei"})]}))
    assert "has 'zwei' as dataset number 1 of the stream, but 'two' joined" in refused(run, call)


def test_a_dataset_that_is_gone_from_the_pool_is_named(run, call):
    shutil.rmtree(run.dataset_folder(0))
    by = [verb for verb in VERBS if verb[0] in ("status", "report", "explain", "export", "restore")]
    assert f"{run.dataset_folder(0)} is missing, and with it the samples that arrived at step 0" in refused(
        run, call, by=by
    )


def test_a_dataset_that_was_swapped_for_another_of_its_name_is_named(run, call):
    content_then = content_of(run.dataset_folder(0))
    Checked(info={"rows": 6, CONTENT: content_then}).save(_new(run.stage_folder(0, Checked)))
    assert call("status", run.folder)[2] == ""
    shutil.rmtree(run.dataset_folder(0))
    shutil.copytree(run.dataset_folder(1), run.dataset_folder(0))
    line = refused(run, call, by=[("status", "RUN"), ("report", "RUN"), ("explain", "RUN", "one/000")])
    assert f"{run.dataset_folder(0)} holds other rows (content " in line and content_then in line


def test_an_unbegun_run_with_an_emptied_file_is_refused(tmp_path):
    made = api.init(tmp_path / "run", model="x")
    made.config_file.write_text("")
    with pytest.raises(ConfigError, match="has no made_by"):
        api.status(tmp_path / "run")


def test_only_datasets_that_are_still_to_be_read_must_exist(run):
    for name in ("one", "two"):
        (run.folder.parent / f"{name}.json").unlink()
    preflight.check(run.config, whole_stream=True, folder=run.folder)
    with pytest.raises(ConfigError, match="stream: one: .* does not exist"):
        preflight.check(run.config, whole_stream=True)
    third = configuration.DatasetConfig(name="three", path="gone.json")
    longer = run.config.model_copy(update={"stream": [*run.config.stream, third]})
    with pytest.raises(ConfigError, match="cannot start:\n  stream: three: gone.json does not exist$"):
        preflight.check(longer, whole_stream=True, folder=run.folder)


@pytest.mark.heavy
def test_run_takes_moved_files_as_step_does_and_refuses_another_model_before_it_notes_its_place(tmp_path, one_thread):
    from tests.helpers.conversations import BASE_PATH

    (tmp_path / "a").mkdir()
    model = shutil.copytree(BASE_PATH, tmp_path / "a/model")
    datasets = [write_dataset(tmp_path / "a", name, rows(6, word=name)[1::2]) for name in ("one", "two")]
    tests = [write_test(tmp_path / "a", "sums", rows(4)[1::2])]
    path = write_stream(
        tmp_path / "stream.yaml",
        datasets,
        tests,
        model={"path": str(model), "dtype": "float32"},
        selection={"method": "random_replay", "budget": 4},
        training={"tune": "lora"},
    )
    run_all(Run.create(tmp_path / "run", configuration.load(path)), num_steps=1)
    before = (tmp_path / "run/config.yaml").read_text()
    (tmp_path / "a").rename(tmp_path / "b")
    path.write_text(path.read_text().replace(f"{tmp_path}/a/", f"{tmp_path}/b/"))
    (tmp_path / "b/one.json").unlink()  # learnt

    for file, text, message in (
        ("model/tokenizer_config.json", "{}", "tokenizer_config.json differs"),
        ("test_sums.json", json.dumps(rows(8)[5::2]), "sums/001 is gone"),
    ):
        kept = (tmp_path / "b" / file).read_text()
        (tmp_path / "b" / file).write_text(text)
        with pytest.raises(StoreError, match=message):
            api.run(path, out=tmp_path / "run")
        assert (tmp_path / "run/config.yaml").read_text() == before
        (tmp_path / "b" / file).write_text(kept)
    assert api.run(path, out=tmp_path / "run").steps == (1,)
    assert f"{tmp_path}/b/model" in (tmp_path / "run/config.yaml").read_text()
