"""Datasets as people publish them go in, are selected from, and come out: every shape through every verb."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf.data import Sample, Selection
from adaptinf.formats import read
from adaptinf.pool import Pool
from tests.helpers.conversations import BASE_PATH
from tests.helpers.published import NUM_ROWS, SHAPES, Exchange, Published, cauldron, in_memory
from tests.helpers.run_folders import content as files_of
from tests.helpers.streams import write_stream

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]

BUDGET = 4
SELECTION = {"method": "adapt_plus", "budget": BUDGET}


@pytest.fixture(params=SHAPES, ids=[shape.__name__ for shape in SHAPES])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Published:
    """One dataset of each shape."""
    make: Callable[[Path], Published] = request.param
    return make(tmp_path / f"published-{make.__name__}")


def content(sample: Sample) -> Exchange:
    """Return what a sample holds, its images by the digests of their bytes."""
    (_, question), (_, answer) = [turn for turn in sample.turns if turn[0] != "system"]
    images = [image.read_bytes() if isinstance(image, Path) else image.read() for image in sample.images]
    digests = tuple(hashlib.sha256(image).hexdigest() for image in images)
    return Exchange(question.replace("<image>", "").strip(), answer, digests)


def contents(rows: Iterable[object]) -> list[Exchange]:
    """Return the contents of rows that must all be samples."""
    found = []
    for row in rows:
        assert isinstance(row, Sample), row
        found.append(content(row))
    return found


def test_a_dataset_goes_in_and_its_selection_comes_out(published: Published, tmp_path: Path) -> None:
    path = published.entry["path"]
    where = {key: value for key, value in published.entry.items() if key != "path"}

    assert contents(read(path, source="toy", **where)) == list(published.exchanges)
    findings = api.validate(path, **where)
    assert (findings.num_samples, len(findings.rejected)) == (NUM_ROWS, 0)

    stream = write_stream(tmp_path / "s.yaml", [{"name": "toy", **published.entry}], selection=SELECTION)
    done = api.run(stream, out=tmp_path / "run")
    assert done.report.is_file()

    pool = Pool.open(done.run.pool_folder, done.run.folder / "steps", until=0)
    assert sorted(contents(pool.view(pool.ids))) == sorted(published.exchanges)
    selection = done.run.load(0, Selection)
    assert selection is not None
    chosen = list(selection.table["id"])
    wanted = contents(pool.view(chosen))
    assert len(wanted) == BUDGET

    history = api.explain(done.folder, chosen[0])
    assert wanted[0].question in " ".join(text for _, text in history.turns)
    assert len(history.images) == len(wanted[0].images)

    for images in ("embed", "copy"):
        for format in ("messages", "llava", "sharegpt", "swift"):
            folder = tmp_path / f"{format}-{images}"
            exported = api.export(done.folder, step=0, format=format, images=images, out=folder)
            assert exported.num_samples == BUDGET
            assert contents(read(folder, source="again")) == wanted, f"{format} {images}"


def test_an_export_of_the_pool_starts_another_run(tmp_path: Path) -> None:
    published = SHAPES[0](tmp_path / "published")
    stream = write_stream(tmp_path / "s.yaml", [{"name": "toy", **published.entry}], selection=SELECTION)
    done = api.run(stream, out=tmp_path / "run")
    folder = tmp_path / "exported"
    api.export(done.folder, step=0, format="messages", images="embed", out=folder)
    again = write_stream(tmp_path / "again.yaml", [{"name": "chosen", "path": str(folder)}], selection=SELECTION)
    second = api.run(again, out=tmp_path / "second")
    (dataset,) = Pool.open(second.run.pool_folder, second.run.folder / "steps").datasets
    assert dataset.table.num_rows == BUDGET


def test_a_folder_of_subsets_becomes_a_stream_that_runs_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cauldron(tmp_path / "cauldron")
    monkeypatch.chdir(tmp_path)
    settings = {"selection.method": "random_replay", "selection.budget": BUDGET, "model.max_length": 256}
    made = api.init("runs/fine", model=BASE_PATH, data=tmp_path / "cauldron", settings=settings)
    assert [dataset.name for dataset in made.config.stream] == ["charts", "diagrams"]
    done = api.run(made.config_file)
    assert (done.folder.resolve(), done.steps) == ((tmp_path / "runs/fine").resolve(), (0, 1))


KILLED = """
import json, os, signal, sys
from adaptinf import api
from adaptinf.pool.merging import Merge
Merge.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
api.add(sys.argv[1], sys.argv[2], name="toy", **json.loads(sys.argv[3]))
"""
"""Ends when the first part of the dataset has been read, before anything is put together."""


@pytest.mark.parametrize("make", [shape for shape in SHAPES if shape is not in_memory], ids=lambda make: make.__name__)
def test_an_add_that_was_killed_goes_on_and_gives_the_same_bytes(
    make: Callable[[Path], Published], tmp_path: Path
) -> None:
    published = make(tmp_path / "published")
    where = {key: value for key, value in published.entry.items() if key != "path"}
    pools = {}
    for name in ("undisturbed", "killed"):
        api.init(tmp_path / name, model=BASE_PATH, settings={"selection.method": "random_replay"})
        if name == "killed":
            words = [sys.executable, "-c", KILLED, str(tmp_path / name), published.entry["path"], json.dumps(where)]
            assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL
            assert not (tmp_path / name / "pool" / "00-toy").exists()
        added = api.add(tmp_path / name, published.entry["path"], name="toy", **where)
        assert (added.num_samples, added.num_rejected) == (NUM_ROWS, 0)
        pools[name] = files_of(tmp_path / name / "pool" / "00-toy")
    assert pools["killed"] == pools["undisturbed"]
