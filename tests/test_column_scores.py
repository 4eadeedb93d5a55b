"""column:NAME in whole runs: a number that comes with the rows takes the place of a measured score."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import ARTIFACTS, Clusters, Evaluation, Features, Selection
from adaptinf.errors import ConfigError
from adaptinf.pipeline import run_all
from adaptinf.progress import Silent
from adaptinf.runs import Run
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

SCORE = "column:relevance_ratings"
NUM_ROWS = 16
pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]


class Notes(Silent):
    """Keeps what a run notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def rated(*, first: int = 0) -> list[dict]:
    """Return rows whose ratings are lists, one number per turn; those before `first` have none."""
    found = rows(NUM_ROWS)
    for number, row in enumerate(found):
        row |= {"relevance_ratings": [number % 7] if number >= first else None, "length": str(number)}
    return found


def rating(id: str) -> float:
    return int(id.rpartition("/")[2]) % 7


def made(folder, datasets, *, name: str = "run", tests=None, **selection) -> tuple[Run, Notes]:
    stream = write_stream(
        folder / f"{name}.yaml", datasets, tests, selection={"method": "adapt", "budget": 8, **selection}
    )
    notes = Notes()
    run = Run.create(folder / name, configuration.load(stream), progress=notes)
    run_all(run)
    return run, notes


@pytest.fixture(scope="module")
def ranked(tmp_path_factory) -> Run:
    """A run that takes the highest ratings of each cluster."""
    folder = tmp_path_factory.mktemp("ranked")
    data = [write_dataset(folder, "a", rated())]
    return made(folder, data, choose=f"fixed:{SCORE}", sampling="top")[0]


def test_the_highest_numbers_of_each_cluster_are_selected(ranked):
    features, clusters = ranked.load(0, Features), ranked.load(0, Clusters)
    np.testing.assert_array_equal(features.scores[SCORE], [rating(id) for id in features.ids])
    selection = ranked.load(0, Selection)
    assert set(selection.table["scorer"]) == {SCORE}
    for cluster, budget in zip(selection.clusters["cluster"], selection.clusters["budget"], strict=True):
        ratings = sorted((rating(id) for id in features.ids[clusters.labels == cluster]), reverse=True)
        chosen = selection.table["score"][selection.table["cluster"] == cluster]
        assert sorted(chosen, reverse=True) == ratings[:budget]


def test_explain_report_and_export_show_it_as_any_score(ranked, tmp_path):
    id = ranked.load(0, Selection).ids[0]
    step = api.explain(ranked.folder, id).steps[0]
    assert step.scores[SCORE].value == rating(id)
    assert step.considered is not None
    assert (step.considered.scorer, step.considered.score) == (SCORE, rating(id))
    assert SCORE in api.report([ranked.folder], out=tmp_path / "page.html").path.read_text(encoding="utf-8")
    api.export(ranked.folder, out=tmp_path / "out", format="llava", step=0)
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pydict()
    assert table[SCORE] == table["score"] == [rating(id) for id in table["id"]]


def test_rows_without_a_number_come_last_in_their_cluster_and_are_counted(tmp_path):
    data = [write_dataset(tmp_path, "a", rated(first=4))]
    run, notes = made(tmp_path, data, choose=f"fixed:{SCORE}", sampling="top", budget=NUM_ROWS - 4)
    (line,) = [line for line in notes.lines if SCORE in line]
    assert "a: keys of rows that nothing reads: length (16)" in notes.lines
    assert line.startswith(f"{SCORE}: 4 samples of 16 without a number (a 4)")
    features, clusters = run.load(0, Features), run.load(0, Clusters)
    without = set(features.ids[np.isnan(features.scores[SCORE])])
    assert len(without) == 4
    selection = run.load(0, Selection)
    for cluster, budget in zip(selection.clusters["cluster"], selection.clusters["budget"], strict=True):
        members = set(features.ids[clusters.labels == cluster])
        taken = members & set(selection.ids)
        assert len(taken & without) == max(0, budget - len(members - without))


def test_entropy_chooses_between_columns_and_measured_scores(tmp_path):
    data = [write_dataset(tmp_path, "a", rated())]
    run, _ = made(tmp_path, data, scorers=[SCORE, "column:length", "el2n"])
    clusters = run.load(0, Selection).clusters
    assert {f"entropy_{name}" for name in (SCORE, "column:length", "el2n")} <= clusters.keys()
    assert set(clusters["scorer"]) <= {SCORE, "column:length", "el2n", "none"}


def test_a_column_that_no_row_has_is_refused_before_anything_is_measured(tmp_path):
    data, tests = [write_dataset(tmp_path, "a", rated())], [write_test(tmp_path, "colours", rows(2))]
    with pytest.raises(ConfigError) as refused:
        made(tmp_path, data, tests=tests, scorers=["column:relevance_rating"])
    assert str(refused.value) == (
        "selection names column:relevance_rating, but no sample of the pool has a number under 'relevance_rating'; "
        "columns that have: length (16 rows, 0 to 15), relevance_ratings (16 rows, 0 to 6)"
    )
    run = Run.open(tmp_path / "run")
    assert not any(run.has(0, kind) for kind in ARTIFACTS)
    assert not run.has(-1, Evaluation)


def test_a_column_without_its_prefix_is_refused_with_it(tmp_path):
    stream = write_stream(tmp_path / "s.yaml", [write_dataset(tmp_path, "a", rated())], selection={"scorers": ["x"]})
    with pytest.raises(ConfigError, match=r"unknown scorer 'x'; .*; or column:NAME, a column of the data"):
        api.run(stream, out=tmp_path / "run")


def test_a_method_that_takes_no_scorers_reads_no_column(tmp_path):
    data = [write_dataset(tmp_path, "a", rated())]
    run, notes = made(tmp_path, data, method="random_replay", scorers=["column:absent"])
    assert run.num_finished == 1
    assert not [line for line in notes.lines if "column:" in line]
