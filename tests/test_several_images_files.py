"""A dataset whose images are in several files of the pool: an `add` that is killed, and every reader of the images."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Evaluation, Features, Sample, Selection, Trained
from adaptinf.errors import ConfigError, StoreError
from adaptinf.formats import read
from adaptinf.images.contents import ImageContent
from adaptinf.pipeline import run_all
from adaptinf.pool import image_writing
from adaptinf.pool.image_file import IMAGES_FILE, INDEX_FILE, file_name
from adaptinf.pool.image_writing import WHOLE_BYTES, batches_of
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run
from tests.helpers.conversations import BASE_PATH
from tests.helpers.data_files import write_parquet
from tests.helpers.run_folders import content
from tests.helpers.streams import COLOURS, row, rows, write_stream, write_test

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]

SHARDS = (("red", "small red"), ("blue",), ("red", "small green"), ("white",))
"""Colours of the images of each file of rows. The first file's large image is in the third again."""
FILES = [file_name(number) for number in range(len(SHARDS))]
NUM_ROWS = sum(len(colours) + 1 for colours in SHARDS)


def image_bytes(name: str) -> bytes:
    """Return an image of one colour: not compressed and so large that its chunk has a file of its own, or small."""
    colour, is_small = COLOURS[name.rpartition(" ")[2]], name.startswith("small")
    size, kind = ((64, 64), "PNG") if is_small else ((1200, 1200), "BMP")
    with io.BytesIO() as file:
        Image.new("RGB", size, colour).save(file, kind)
        return file.getvalue()


def write_shards(folder: Path) -> Path:
    """Write a folder of Parquet files with images in their rows; the last row of each has none."""
    number = 0
    for shard, colours in enumerate(SHARDS):
        found: list[dict[str, Any]] = []
        for name in colours:
            asked = row(number, f"Colour of thing {number}?", name.rpartition(" ")[2], skill="colours", image=name)
            found.append(asked | {"image": {"bytes": image_bytes(name), "path": f"{number}.bin"}})
            number += 1
        found.append(row(number, f"{number} + 1?", str(number + 1), skill="sums"))
        number += 1
        write_parquet(folder / f"{shard}.parquet", found)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("data") / "toy")


def finished(folder: Path, data: Path) -> Run:
    """Return a run of one step."""
    folder.mkdir()
    test = write_test(folder, "colours", rows(4, word="item")[::2])
    stream = write_stream(
        folder / "s.yaml", [{"name": "toy", "path": str(data)}], [test], selection={"method": "adapt", "budget": 4}
    )
    run = Run.create(folder / "run", configuration.load(stream))
    run_all(run)
    return run


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Run:
    """A run whose dataset has several images files."""
    return finished(tmp_path_factory.mktemp("runs") / "several", data)


def files_of(run: Run) -> list[str]:
    return sorted(path.name for path in run.dataset_folder(0).glob("images*.arrow"))


def test_large_chunks_have_files_of_their_own_and_each_content_is_there_once(several: Run) -> None:
    folder = several.dataset_folder(0)
    assert files_of(several) == sorted(FILES)
    stored = [[image["bytes"] for batch in batches_of(folder / name) for image in batch.to_pylist()] for name in FILES]
    wanted = (("red", "small red"), ("blue",), ("small green",), ("white",))
    assert stored == [list(map(image_bytes, names)) for names in wanted]
    assert [(folder / name).stat().st_size >= WHOLE_BYTES for name in FILES] == [True, True, False, True]
    info = json.loads((folder / "info.json").read_text())
    assert (info["rows"], info["rejected"]) == (NUM_ROWS, 0)
    assert info["bytes_of_pictures"] == sum(len(image_bytes(name)) for names in wanted for name in names)


@pytest.mark.slow
def test_steps_see_the_same_images_as_in_one_file(
    several: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_writing, "WHOLE_BYTES", 2**60)
    one = finished(tmp_path / "one", data)
    assert files_of(one) == [IMAGES_FILE]
    features = [run.load(0, Features) for run in (one, several)]
    assert features[0] is not None and features[1] is not None and not features[1].info.get("rejected")
    np.testing.assert_array_equal(np.asarray(features[0].vectors), np.asarray(features[1].vectors))
    selections = [run.load(0, Selection) for run in (one, several)]
    assert selections[0] is not None and selections[1] is not None
    assert list(selections[0].ids) == list(selections[1].ids)
    weights = [run.stage_folder(0, Trained) / "model.safetensors" for run in (one, several)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert json.loads((weights[1].parent / "info.json").read_text())["unreadable"] == []
    tested = [run.load(0, Evaluation) for run in (one, several)]
    assert tested[0] is not None and tested[1] is not None
    np.testing.assert_array_equal(tested[0].matrix, tested[1].matrix)


def test_the_report_shows_the_images_and_explain_names_the_file_of_each(several: Run, tmp_path: Path) -> None:
    page = api.report([several.folder], out=tmp_path / "page.html").path.read_text()
    assert page.count("data:image/jpeg;base64,") == len(set().union(*SHARDS)) and "missing or damaged" not in page
    told = [api.explain(several.folder, f"toy/{number:03d}") for number in range(NUM_ROWS)]
    places = [Path(place.partition("#")[0]) for one in told for place in one.images]
    assert [place.name for place in places] == [FILES[0], FILES[0], FILES[1], FILES[0], FILES[2], FILES[3]]


@pytest.mark.parametrize("images", ["copy", "embed"])
def test_an_export_holds_the_same_images(several: Run, tmp_path: Path, images: Any) -> None:
    # A run folder that was moved, as no file is named by where it was.
    moved = shutil.copytree(several.folder, tmp_path / "moved")
    api.export(moved, step=0, format="messages", out=tmp_path / "out", images=images)
    pool = several.pool(0)
    chosen = {sample.id: sample for sample in pool.view(pool.ids)}
    found = [sample for sample in read(tmp_path / "out") if isinstance(sample, Sample)]
    assert len(found) == 4
    for sample in found:
        before = chosen[sample.id.partition("/")[2]]
        assert [bytes_of(image) for image in sample.images] == [bytes_of(image) for image in before.images]


def bytes_of(image: Path | ImageContent) -> bytes:
    return image.read_bytes() if isinstance(image, Path) else image.read()


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, which is in an image."""
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def test_a_flipped_bit_in_a_further_file_is_found_by_verify_and_by_every_reader(several: Run, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(several.folder, tmp_path / "run"))
    path = run.dataset_folder(0) / FILES[1]
    assert api.verify(run.folder).damaged == ()
    flip(path)
    assert [damage.path for damage in api.verify(run.folder).damaged] == [path]
    (dataset,) = stored_datasets(run.pool_folder)
    whole, broken = dataset.sample(0).images[0], dataset.sample(3).images[0]
    assert bytes_of(whole) == image_bytes("red")
    with pytest.raises(StoreError, match=rf"{FILES[1]} is damaged: [0-9a-f]{{64}}"):
        bytes_of(broken)
    chosen = tmp_path / "ids.txt"
    chosen.write_text("toy/003\n")
    with pytest.raises(StoreError, match=rf"{FILES[1]} is damaged"):
        api.export(run.folder, step=0, ids=chosen, images="copy", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(StoreError, match=rf"{FILES[1]} is damaged"):
        api.report([run.folder], out=tmp_path / "page.html")
    assert FILES[1] in api.explain(run.folder, "toy/003").images[0]


def test_a_further_file_that_is_gone_is_named(several: Run, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(several.folder, tmp_path / "run"))
    path = run.dataset_folder(0) / FILES[3]
    path.unlink()
    assert [damage.path for damage in api.verify(run.folder).damaged] == [path]
    image = stored_datasets(run.pool_folder)[0].sample(8).images[0]
    with pytest.raises(StoreError, match=rf"{FILES[3]} cannot be read"):
        bytes_of(image)


def test_images_of_several_files_never_move(several: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it holds no paths of images"):
        api.relocate(several.folder, tmp_path / "images", tmp_path / "elsewhere")


KILLED = """
import os, signal, sys
from adaptinf import api
from adaptinf.pool import image_writing

def killed(*_, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def after(original, count):
    left = [count]
    def call(*arguments):
        original(*arguments)
        left[0] -= 1
        if not left[0]:
            killed()
    return call

if sys.argv[3] == "link":
    image_writing._link = after(image_writing._link, 2)
else:
    image_writing._index_of = killed
api.add(sys.argv[1], sys.argv[2], name="toy")
"""


@pytest.mark.parametrize(("place", "left"), [("link", FILES[:2]), pytest.param("index", FILES, marks=pytest.mark.slow)])
def test_an_add_that_was_killed_goes_on_and_gives_the_same_bytes(
    data: Path, tmp_path: Path, call: Any, place: str, left: list[str]
) -> None:
    pools = {}
    for name in ("undisturbed", "killed"):
        api.init(tmp_path / name, model=BASE_PATH, settings={"selection.method": "random_replay"})
        part = tmp_path / name / "pool" / "00-toy.part"
        if name == "killed":
            words = [sys.executable, "-c", KILLED, str(tmp_path / name), str(data), place]
            assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL
            assert sorted(path.name for path in part.glob("images*.arrow")) == sorted(left)
            assert (part / FILES[0]).stat().st_nlink == 2 and not (part / INDEX_FILE).exists()
            assert not part.with_suffix("").exists()
        code, _, err = call("add", tmp_path / name, data, "--name", "toy")
        assert code == 0 and not part.exists(), err
        pools[name] = content(part.with_suffix(""))
    assert pools["killed"] == pools["undisturbed"] and {*FILES, INDEX_FILE} <= pools["killed"].keys()
