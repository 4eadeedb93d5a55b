"""What the page gets: every sample by id, what became of it, its text, its image, its neighbours."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from adaptinf import api
from adaptinf.data import Features, SampleMap, SavedPruning, Selection
from adaptinf.errors import ConfigError
from adaptinf.progress import Silent
from adaptinf.runs import Run
from adaptinf.storage import lock
from adaptinf.view.explorer import Explorer
from tests.helpers.explored_runs import HOSTILE, REJECTED_REASON, explored_run

NUM_ROWS, NUM_IMAGES = 400, 20
NUM_FIRST = 240
"""Rows of the first dataset."""


@pytest.fixture(scope="module")
def explorer(tmp_path_factory) -> Explorer:
    return Explorer.open(explored_run(tmp_path_factory.mktemp("explored"), NUM_ROWS, NUM_IMAGES), None)


def column(explorer: Explorer, name: str) -> np.ndarray:
    """Return N values of a column: numbers, or texts."""
    (found,) = [one for one in explorer.columns if one.name == name]
    return found.values if found.categories is None else np.array(found.categories, dtype=object)[found.values]


def loaded(explorer: Explorer, path: str):
    kind, content = explorer.content(path)
    assert kind == "application/json"
    return json.loads(content)


def test_every_sample_that_has_arrived_is_a_row_pruned_ones_too(explorer):
    ids = [row["id"] for number in range(2) for row in loaded(explorer, f"rows/{number}.json")]
    assert len(ids) == len(set(ids)) == NUM_ROWS and explorer.content("rows/2.json") is None
    assert loaded(explorer, "ids/0.json") == ids
    assert loaded(explorer, "view.json")["num_rows"] == NUM_ROWS


def test_decisions_are_those_of_the_steps_tables(explorer):
    ids = np.array(loaded(explorer, "ids/0.json"), dtype=object)
    decisions, run = column(explorer, "decision"), explorer.run
    selected = set(run.load(1, Selection).ids)
    pruned = [set(run.load(step, SavedPruning).table["id"]) for step in (0, 1)]
    for id, decision in zip(ids, decisions, strict=True):
        wanted = "pruned" if id in pruned[0] | pruned[1] else "selected" if id in selected else "not selected"
        assert decision == wanted, id
    times = column(explorer, "times selected")
    both = selected & set(run.load(0, Selection).ids)
    assert {id for id, count in zip(ids, times, strict=True) if count == 2} == both and both


def test_columns_have_the_values_of_the_own_sample(explorer):
    ids, features = loaded(explorer, "ids/0.json"), explorer.run.load(1, Features)
    row_of = {id: row for row, id in enumerate(ids)}
    rows = np.array([row_of[id] for id in features.ids])
    for name in ("perplexity", "el2n"):
        np.testing.assert_array_equal(column(explorer, name)[rows], features.scores[name].astype(np.float32))
    gone = np.setdiff1d(np.arange(NUM_ROWS), rows)
    assert len(gone) and np.isnan(column(explorer, "perplexity")[gone]).all()
    assert (column(explorer, "cluster")[gone] == "none").all()
    assert set(column(explorer, "age")[rows].tolist()) == {0.0, 1.0}
    assert (column(explorer, "source")[[0, -1]] == ["first", "second"]).all()
    assert column(explorer, "true skill")[1] == "maps"


def test_places_and_neighbours_are_by_row_and_of_the_own_cluster(explorer):
    places = np.frombuffer(explorer.content("places.bin")[1], "<f4").reshape(-1, 2)
    near = np.frombuffer(explorer.content("neighbours.bin")[1], "<i4").reshape(NUM_ROWS, -1)
    labels = column(explorer, "cluster")
    has_place = np.isfinite(places).all(axis=1)
    np.testing.assert_array_equal(has_place, labels != "none")
    for row in np.flatnonzero(has_place):
        others = near[row][near[row] >= 0]
        assert len(others) and row not in others and (labels[others] == labels[row]).all()
    assert (near[~has_place] == -1).all()


def test_a_search_reads_texts_and_ids_whatever_the_case(explorer):
    def found(text: str) -> list[int]:
        return np.frombuffer(explorer.content("search", f"q={text}")[1], "<i4").tolist()

    assert found("NUMBER+12%3F") == [12, NUM_FIRST + 12]
    assert found("second/00000003") == [NUM_FIRST + 3]
    assert found("%5B%28") == [] and found("") == []
    assert len(found("receipts")) == 40 + 27


def test_an_image_is_that_of_its_row_and_is_made_once(explorer):
    (number,) = loaded(explorer, "rows/0.json")[3]["images"]
    kind, content = explorer.content(f"thumbs/{number}.jpg")
    assert kind == "image/jpeg"
    image = Image.open(io.BytesIO(content))
    assert image.size == (96, 72)
    wanted = Image.open(explorer.run.folder.parent / "images" / "000003.png").convert("RGB")
    assert np.abs(np.asarray(image, float) - np.asarray(wanted, float)).mean() < 12
    kept = list(explorer.thumbnails.folder.iterdir())
    assert explorer.content(f"thumbs/{number}.jpg")[1] == content
    assert list(explorer.thumbnails.folder.iterdir()) == kept
    assert explorer.content(f"thumbs/{NUM_IMAGES}.jpg") is None


@pytest.mark.parametrize("path", ["", "rows/-1.json", "rows/../x", "columns/99.bin", "../config.yaml", "rows/0.json/"])
def test_a_path_that_is_none_of_its_files_gives_nothing(explorer, path):
    assert explorer.content(path) is None


def test_tests_and_rejected_rows_have_tables_of_their_own(explorer):
    tests, rejected = loaded(explorer, "tests.json"), loaded(explorer, "rejected.json")
    assert tests["total"] == 12 and HOSTILE in [row[tests["columns"].index("prediction")] for row in tests["rows"]]
    assert [row[-1] for row in rejected["rows"]] == [REJECTED_REASON]


def test_an_excluded_sample_and_a_withdrawn_dataset_are_shown_as_such(tmp_path):
    run = explored_run(tmp_path, 60, 0)
    api.exclude(run.folder, "second/00000001")
    assert column(Explorer.open(run, None), "decision")[37] == "excluded"
    api.withdraw(run.folder, "first")
    decisions = column(Explorer.open(run, None), "decision")
    assert (decisions[:36] == "withdrawn").all() and "withdrawn" not in decisions[36:]


def test_a_step_without_vectors_has_tables_alone_and_says_why(tmp_path):
    run = explored_run(tmp_path, 60, 0)
    Features.drop_arrays(run.stage_folder(0, Features))
    found = Explorer.open(run, 0)
    assert found.map is None and "vectors of step 0 were dropped" in found.why_no_map
    assert len(loaded(found, "rows/0.json")) == 36 and found.content("neighbours.bin")[1] == b""


def test_a_step_that_is_not_finished_is_refused(tmp_path, explorer):
    with pytest.raises(ConfigError, match="step 2 of .* is not finished; steps 0 to 1 are"):
        Explorer.open(explorer.run, 2)
    fresh = Run.create(tmp_path / "fresh", explorer.run.config)
    with pytest.raises(ConfigError, match="has no finished step to explore"):
        Explorer.open(fresh, None)


def test_a_run_in_use_is_shown_with_a_map_that_is_not_kept(tmp_path):
    run = explored_run(tmp_path, 60, 0)
    with lock.held(run.folder):
        found = Explorer.open(Run.open(run.folder, progress=Silent()), None)
    assert found.map is not None and not run.has(1, SampleMap)


def test_an_image_that_is_gone_is_nothing_and_no_error(tmp_path):
    run = explored_run(tmp_path, 60, 2)
    (tmp_path / "images" / "000001.png").unlink()
    found = Explorer.open(run, None)
    assert found.content("thumbs/0.jpg") is not None and found.content("thumbs/1.jpg") is None
