"""`adaptinf relocate`: images of a pool have moved; every reader finds them, and the datasets stay as they are."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.formats import read
from adaptinf.pipeline import run_all
from adaptinf.pool import stored_datasets
from adaptinf.pool.catalogue import Catalogue
from adaptinf.pool.relocation import Move, moves, relocated
from adaptinf.runs import Run, stream
from adaptinf.runs.relocate import missing_images
from tests.helpers.run_folders import content
from tests.helpers.streams import rows, write_dataset, write_stream


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def pool_of(folder: Path, **data) -> Run:
    """Return a run whose two datasets have joined; their images are in one folder."""
    datasets = [write_dataset(folder, name, rows(8, word=name)) for name in ("one", "two")]
    path = write_stream(folder / "stream.yaml", datasets, selection={"method": "random_replay"}, data=data)
    run = Run.create(folder / "run", configuration.load(path))
    for step in (0, 1):
        stream.join(run, step)
    return run


def images(run: Run) -> list[Path]:
    return [path for sample in run.pool(1).view(run.pool(1).ids) for path in sample.images]


def test_images_that_moved_are_found_by_every_reader_and_datasets_stay(folder, call):
    run = pool_of(folder)
    before = content(run.folder)
    (folder / "images").rename(folder / "elsewhere")
    code, out, err = call("relocate", run.folder, folder / "images", folder / "elsewhere")
    assert code == 0, err
    assert f"2 images of the pool under {folder / 'images'} are read from {folder / 'elsewhere'} from now on" in out
    assert "still names the former place: correct stream.0.images, stream.1.images there" in out
    found = images(run)
    assert len(found) == 8 and all(path.parent == folder / "elsewhere" and path.is_file() for path in found)
    assert all(path.is_file() for path in Catalogue.of(run.pool_folder).sample("one/000").images)
    # A worker process gets paths and reads the moves itself.
    (first, _) = pickle.loads(pickle.dumps(stored_datasets(run.pool_folder)))
    assert first.sample(0).images[0].is_file()
    assert call("explain", run.folder, "one/000")[1].count(str(folder / "elsewhere")) == 1
    after = content(run.folder)
    assert {name for name in after if before.get(name) != after[name]} == {"pool/relocated.jsonl"}
    (line,) = map(json.loads, (run.pool_folder / "relocated.jsonl").read_text().splitlines())
    assert (line["old"], line["new"]) == (str(folder / "images"), str(folder / "elsewhere"))


def test_moves_are_applied_in_order_to_whole_parts_of_paths():
    moved = [Move("/a", "/b"), Move("/b/c", "/d"), Move("/d", "/a")]
    assert relocated("/a/c/1.png", moved) == "/a/1.png"
    assert relocated("/a/x.png", moved) == "/b/x.png"
    assert relocated("/ab/x.png", moved) == "/ab/x.png", "a part of a name is no folder"
    assert relocated("images/1.png", moved) == "images/1.png", "a copy in the dataset's folder"
    assert relocated("/x.png", [Move("/", "/disk")]) == "/disk/x.png"
    assert relocated("/a/1.png", [Move("/a/1.png", "/b/2.png")]) == "/b/2.png"


def test_several_moves_compose(folder):
    run = pool_of(folder)
    for old, new in (("images", "x"), ("x", "y"), ("y", "images")):
        (folder / old).rename(folder / new)
        api.relocate(run.folder, folder / old, folder / new)
    assert len(moves(run.pool_folder)) == 3
    assert all(path.parent == folder / "images" and path.is_file() for path in images(run))


def test_a_folder_above_may_be_named(folder):
    run = pool_of(folder)
    (folder / "disk").mkdir()
    shutil.copytree(folder / "images", folder / "disk/images")
    found = api.relocate(run.folder, folder, folder / "disk")
    assert found.num_images == 2 and all(path.parent == folder / "disk/images" for path in images(run))


def test_a_wrong_folder_or_missing_images_are_refused_and_nothing_is_recorded(folder):
    run = pool_of(folder)
    with pytest.raises(ConfigError, match="no image of the pool of .* lies under .*imag; its images are in .*images"):
        api.relocate(run.folder, folder / "imag", folder / "elsewhere")
    shutil.copytree(folder / "images", folder / "elsewhere")
    (folder / "elsewhere/red.png").unlink()
    with pytest.raises(DataError, match=r"1 of the 2 images under .* the first is .*elsewhere/red.png; nothing is"):
        api.relocate(run.folder, folder / "images", folder / "elsewhere")
    assert not (run.pool_folder / "relocated.jsonl").exists()


def test_copies_in_the_pool_do_not_move(folder):
    run = pool_of(folder, images="copy")
    with pytest.raises(ConfigError, match="it holds no paths of images"):
        api.relocate(run.folder, folder / "images", folder)


def test_a_damaged_line_is_named(folder):
    run = pool_of(folder)
    (run.pool_folder / "relocated.jsonl").write_text('{"old": "/a"}\n')
    with pytest.raises(StoreError, match="relocated.jsonl has a line that is not"):
        images(run)


def test_an_export_names_the_new_folder_and_reads_back(folder):
    run = pool_of(folder)
    shutil.move(folder / "images", folder / "elsewhere")
    api.relocate(run.folder, folder / "images", folder / "elsewhere")
    from adaptinf.data import Selection
    from adaptinf.selection import select

    pool = run.pool(0)
    selection = select(None, None, pool.ids, 4, method="random_replay", arrived=pool.arrived, current_step=0)
    run.once(0, Selection, lambda _: selection)
    run.pin_settings()
    exported = api.export(run.folder, step=0, out=folder / "out")
    assert all(root == str(folder / "elsewhere") for root in exported.manifest["roots"])
    assert all(path.is_file() for sample in read(folder / "out") for path in sample.images)


def test_images_that_are_not_there_are_noted_with_the_command(folder):
    run = pool_of(folder)
    assert missing_images(run) == []
    shutil.move(folder / "images", folder / "elsewhere")
    lines = missing_images(run)
    assert [line.partition(" are not where")[0] for line in lines] == ["images of one", "images of two"]
    assert f"adaptinf relocate {run.folder} {folder / 'images'} NEW" in lines[0]
    config = run.config_file.read_text().replace(str(folder / "images"), str(folder / "elsewhere"))
    run.config_file.write_text(config)
    assert (
        f"relocate {run.folder} {folder / 'images'} {folder / 'elsewhere'}" in missing_images(Run.open(run.folder))[0]
    )


def test_one_of_several_image_folders_moves(folder):
    dataset = write_dataset(folder, "one", rows(8))
    (folder / "second").mkdir()
    dataset |= {"images": [str(folder / "images"), str(folder / "second")]}
    (moved, *_) = sorted((folder / "images").iterdir())
    shutil.move(moved, folder / "second" / moved.name)
    path = write_stream(folder / "stream.yaml", [dataset], selection={"method": "random_replay"})
    run = Run.create(folder / "run", configuration.load(path))
    info = stream.join(run, 0)
    assert info["image_folder"] == [str(folder / "images"), str(folder / "second")] and info["rejected"] == 0
    shutil.move(folder / "second", folder / "elsewhere")
    assert any(f"adaptinf relocate {run.folder} {folder / 'second'} NEW" in line for line in missing_images(run))
    text = api.relocate(run.folder, folder / "second", folder / "elsewhere").text
    assert "correct stream.0.images there" in text and missing_images(run) == []
    run.config_file.write_text(run.config_file.read_text().replace(str(folder / "second"), str(folder / "elsewhere")))
    assert Run.open(run.folder).config.stream[0].images == [str(folder / "images"), str(folder / "elsewhere")]


@pytest.mark.heavy
def test_training_and_the_report_read_moved_images(folder, one_thread):
    datasets = [write_dataset(folder, name, rows(8, word=name)[::2]) for name in ("one", "two")]
    path = write_stream(folder / "stream.yaml", datasets, selection={"method": "random_replay", "budget": 8})
    run_all(Run.create(folder / "run", configuration.load(path)), num_steps=1)
    shutil.move(folder / "images", folder / "elsewhere")
    for file in (path, folder / "run/config.yaml"):
        file.write_text(file.read_text().replace(str(folder / "images"), str(folder / "elsewhere")))
    api.relocate(folder / "run", folder / "images", folder / "elsewhere")
    result = api.run(path, out=folder / "run")
    assert result.steps == (1,)
    info = json.loads((folder / "run/steps/01/model/info.json").read_text())
    assert info["unreadable"] == [] and info["samples"] == 8
    assert "missing or damaged" not in result.report.read_text()
