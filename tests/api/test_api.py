"""adaptinf.api: one function per command with the command's options, which returns an object and prints nothing."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from adaptinf import api
from adaptinf.cli import app
from adaptinf.compare import processes
from adaptinf.data import Selection
from adaptinf.demo import run as demo_run
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.pipeline import run_all
from adaptinf.results.records import read_records
from adaptinf.runs import Run
from adaptinf.storage import lock
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import row, rows, write_dataset, write_stream, write_test

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("one_thread")]

COMMANDS = {name: item for name, item in typer.main.get_command(app).commands.items() if name != "completion"}
RENAMED = {
    "overrides": "settings", "as_json": None, "quiet": "progress", "no_verify": "verify", "no_check": "check",
    "watch": None,
}  # fmt: skip
"""Parameter of a command -> that of its function; None: it has none."""


METRIC = """
from adaptinf.registry import metric


@metric("zz")
def zz(prediction, answer):
    '''Mine.'''
    return 1.0
"""


class Notes:
    """A progress that remembers titles and notes."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []

    def stage(self, title, total, unit="samples"):
        from adaptinf.progress import Silent

        self.stages.append(title)
        return Silent().stage(title, total, unit)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(autouse=True)
def prints_nothing(capfd):
    """Nothing that a test of this file calls may print."""
    yield
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    datasets = [write_dataset(folder, "one", rows(8)), write_dataset(folder, "two", rows(8, word="item"))]
    tests = [write_test(folder, "sums", rows(4)[1::2])]
    return datasets, tests


@pytest.fixture(scope="module")
def stream(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "pets.yaml"
    return write_stream(path, *data, selection={"method": "random_replay", "budget": 6}, pruning={"cap": 9})


@pytest.fixture(scope="module")
def done(stream, tmp_path_factory):
    """A finished run of two steps, pruned to nine samples."""
    return api.run(stream, out=tmp_path_factory.mktemp("run") / "mine")


def test_there_is_one_function_per_command():
    # `explain --test`, `status --watch` and the like are functions of their own, as what they return is another thing.
    others = {"list_plugins", "explain_test", "watch", "export_view", "view_live"}
    assert set(api.__all__) - others == {name.replace("-", "_") for name in COMMANDS}
    assert api.list is api.list_plugins and isinstance([], list), "Python's own list stays what it is"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_has_the_options_of_its_command(name):
    function = getattr(api, name.replace("-", "_"))
    parameters = inspect.signature(function).parameters
    wanted = {RENAMED.get(item.name, item.name) for item in COMMANDS[name].params} - {None}
    if name == "select":
        wanted = wanted - {"settings"} | {"options"}
    if name == "explain":
        assert inspect.signature(api.explain_test).parameters.keys() == parameters.keys()
        wanted = wanted - {"test"}
    if name == "view":
        # What is exported, and what is live, are functions of their own.
        assert set(inspect.signature(api.export_view).parameters) - {"progress"} == {"folder", "step", "out"}
        assert set(inspect.signature(api.view_live).parameters) - {"ready"} == {"folder", "host", "port"}
        wanted = wanted - {"export", "live"} | {"ready"}
    assert set(parameters) - {"progress", "on_check"} == wanted - {"progress"}
    arguments = [item.name for item in COMMANDS[name].params if item.param_type_name == "argument"]
    positional = [key for key, own in parameters.items() if own.kind is own.POSITIONAL_OR_KEYWORD]
    assert positional == arguments
    assert inspect.getdoc(function)


def test_run_returns_what_came_of_it_and_again_does_nothing(stream, done):
    assert (done.steps, done.folder.name, done.run.num_finished) == ((0, 1), "mine", 2)
    assert done.report.is_file() and done.notes == ()
    (row,) = done.summary.rows
    assert row.method == "random_replay" and row.samples_trained == 12
    assert len(done.run.load(1, Selection).ids) == 6
    assert repr(done).startswith("RunResult(Run(") and "2 by this call; accuracy" in repr(done)
    assert "random_replay" in done._repr_html_() and str(done.report) in done._repr_html_()
    assert done.summary.to_pandas().loc["random_replay", "num_steps"] == 2

    written = done.report.stat().st_mtime_ns
    again = api.run(str(stream), out=str(done.folder))
    assert again.steps == () and again.report.stat().st_mtime_ns == written


def test_settings_are_names_and_values_or_text(stream, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'budget'"):
        api.run(stream, out=tmp_path / "a", settings={"selection.budgt": 3})
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        api.run(stream, out=tmp_path / "a", settings="selection.budget")
    for number, settings in enumerate(({"selection.budget": 3}, ["selection.budget=3"], "selection.budget=3")):
        run = api.init(tmp_path / str(number), model=BASE_PATH, settings=settings)
        assert run.config.selection.budget == 3 and run.config.model.path == str(BASE_PATH)


def test_a_progress_hears_of_stages_and_of_settings_without_effect(stream, tmp_path):
    heard = Notes()
    found = api.run(stream, out=tmp_path, settings={"selection.scorers": ["el2n"]}, progress=heard)
    (note,) = found.notes
    assert "selection.scorers=['el2n'] has no effect" in note and heard.notes[0] == f"note: {note}"
    assert any("train" in title for title in heard.stages)
    assert "<p>note: selection.scorers=[&#x27;el2n&#x27;]" in found._repr_html_()


def test_init_add_and_step(data, tmp_path):
    folder = tmp_path / "live"
    settings = {"selection.method": "random_replay", "selection.budget": 4, "model.max_length": 256}
    made = api.init(folder, model=BASE_PATH, settings=settings)
    assert made.num_finished == 0 and repr(made) == f"Run({str(folder)!r}: random_replay, 0 of 0 steps finished)"
    with pytest.raises(ConfigError, match="exists already"):
        api.init(folder, model=BASE_PATH)
    with pytest.raises(ConfigError, match="all 0 datasets"):
        api.step(folder)
    dataset = data[0][0]
    added = api.add(folder, dataset["path"], images=dataset["images"], name="first")
    assert (added.name, added.step, added.num_samples, added.num_rejected) == ("first", 0, 8, 0)
    stepped = api.step(folder)
    assert stepped.steps == (0,) and stepped.summary is None and stepped.report.is_file()
    assert "accuracy" not in repr(stepped)
    with pytest.raises(ConfigError, match="does not exist"):
        api.add(folder, tmp_path / "gone.json")


def test_run_takes_what_was_added_just_before_it_held_the_lock(data, tmp_path, monkeypatch):
    folder = tmp_path / "live"
    settings = {"selection.method": "random_replay", "selection.budget": 4, "model.max_length": 256}
    api.init(folder, model=BASE_PATH, settings=settings)
    first, second = data[0]
    api.add(folder, first["path"], images=first["images"], name="first")
    held = lock.held

    def after_another_add(place):
        monkeypatch.setattr(lock, "held", held)
        api.add(folder, second["path"], images=second["images"], name="second")
        return held(place)

    monkeypatch.setattr(lock, "held", after_another_add)
    assert api.run(folder / "config.yaml").steps == (0, 1)


def test_status_has_a_row_per_step(done):
    found = api.status(done.folder)
    assert (found.steps_finished, found.steps_waiting, found.pool, found.pruned) == (2, 0, 9, 7)
    frame = found.to_pandas()
    assert frame.index.tolist() == [0, 1] and frame["dataset"].tolist() == ["one", "two"] and frame["finished"].all()
    assert repr(found).endswith("random_replay, 2 of 2 steps finished, 9 samples in the pool)")
    assert found.as_json()["folder"] == str(done.folder) and "two" in found._repr_html_()


def test_report_takes_one_folder_or_several(done, tmp_path):
    one = api.report(done.folder, out=tmp_path / "one.html")
    assert one.path.is_file() and one.folders == (done.folder,) and "one.html" in one._repr_html_()
    assert api.report([done.folder], out=tmp_path / "two.html").path == tmp_path / "two.html"
    with pytest.raises(ConfigError, match="one run folder at least"):
        api.report([])


def test_explain_export_restore_and_withdraw(stream, tmp_path):
    run = api.run(stream, out=tmp_path / "run").run
    chosen = run.load(1, Selection).ids
    assert api.explain(run.folder, chosen[0]).steps[-1].considered.chosen
    exported = api.export(run.folder, step=1, format="llava", images="copy")
    assert exported.num_samples == 6 and exported.folder == run.folder / "exports" / "01-llava"
    assert repr(exported) == f"Exported({str(exported.folder)!r}: 6 samples of step 1 as llava)"
    with pytest.raises(ConfigError, match="images='move'"):
        api.export(run.folder, step=1, images="move")
    gone = sorted(set(run.pool(1).ids) - set(run.pool(2).ids))[0]
    restored = api.restore(run.folder, gone)
    assert restored.is_new and restored.from_step == 2 and gone in restored.text
    assert not api.restore(run.folder, gone).is_new
    assert api.withdraw(run.folder, "two").name == "two"
    assert api.status(run.folder).withdrawn == {"two": 2}
    assert api.export(run.folder, step=1).num_withdrawn == sum(id.startswith("two/") for id in chosen) > 0


def test_a_run_in_use_is_refused(stream, done):
    with lock.held(done.folder), pytest.raises(StoreError, match="in use by process"):
        api.run(stream, out=done.folder)


def test_validate_and_inspect_look_at_data(tmp_path):
    content = [*rows(4), row(4, "?", "", skill="s")]
    entry = write_dataset(tmp_path, "mixed", content)
    heard = Notes()
    found = api.validate(entry["path"], images=entry["images"], progress=heard)
    assert (found.num_samples, len(found.rejected), found.tokens) == (4, 1, None) and heard.stages == ["validate"]
    assert found.to_pandas()["row"].tolist() == [4] and "empty answer" in found._repr_html_()
    assert repr(found) == f"Findings({entry['path']!r}: 4 samples, 1 rejected, 0 repaired)"
    seen = api.inspect(entry["path"], 0, images=Path(entry["images"]), model=BASE_PATH)
    assert "<mark>" in seen._repr_html_() and "are learnt" in repr(seen)
    frame = seen.to_pandas()
    assert frame["num_tokens"].sum() == sum(piece.num_tokens for piece in seen.pieces) and frame["is_answer"].sum() == 1
    assert "empty answer" in repr(api.inspect(entry["path"], "4", images=entry["images"]))
    with pytest.raises(DataError, match="has no row 9; it has 5 rows"):
        api.inspect(entry["path"], 9, images=entry["images"])


def test_libraries_are_as_loud_afterwards_as_before(data):
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled(), list(warnings.filters))
    logging.enable_progress_bar()
    logging.set_verbosity_info()
    try:
        found = api.validate(data[0][0]["path"], images=data[0][0]["images"], model=BASE_PATH)
        assert found.tokens.learns_to_stop and found.tokens.measured == 8
        assert logging.get_verbosity() == logging.INFO and logging.is_progress_bar_enabled()
        assert warnings.filters == before[2]
    finally:
        logging.set_verbosity(before[0])
        logging.disable_progress_bar()


def test_select_writes_a_folder_only_where_it_is_asked_to(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"t/{number}" for number in range(50)]
    pd.DataFrame({"id": names, "loss": rng.random(50)}).to_parquet(tmp_path / "scores.parquet")
    chosen = api.select(tmp_path / "scores.parquet", budget=5, options={"choose": "fixed:loss", "sampling": "top"})
    assert len(chosen.ids) == 5 and chosen.folder is None and chosen.to_pandas()["id"].tolist() == chosen.ids.tolist()
    written = api.select(
        tmp_path / "scores.parquet", budget=5, options=["choose=fixed:loss", "sampling=top"], out=tmp_path / "x"
    )
    assert (tmp_path / "x" / "ids.txt").read_text().split() == chosen.ids.tolist()
    assert repr(written) == f"Chosen(5 of 50 samples by adapt, in {str(tmp_path / 'x')!r})"
    np.save(tmp_path / "vectors.npy", rng.normal(size=(50, 4)))
    clustered = api.select(tmp_path / "scores.parquet", budget=5, vectors=tmp_path / "vectors.npy", clusters="3")
    assert clustered.info["clusters"]["clusters"] == 3
    with pytest.raises(ConfigError, match="nothing to select from"):
        api.select(budget=5)


def test_list_knows_plugins_of_a_file_for_this_call_only(tmp_path):
    found = api.list()
    assert "adapt" in found.names("selector") and "selectors" in repr(found) and "adapt" in found._repr_html_()
    mine = tmp_path / "mine.py"
    mine.write_text(METRIC)
    entry = next(entry for entry in api.list(plugins=mine).entries if entry.name == "zz")
    assert (entry.kind, entry.line) == ("metric", "Mine.") and entry.origin.endswith("mine.py")
    assert api.list(plugins=[str(mine)]).as_json()["metric"]["zz"] == "Mine."
    assert "zz" not in api.list().names("metric")


def test_doctor_checks_the_environment(tmp_path):
    found = api.doctor(out=tmp_path)
    frame = found.to_pandas().set_index("name")
    assert found.is_good == bool(frame["is_good"].all()) and "torch" in frame.index and "disk" in found._repr_html_()
    bad = replace(found, checks=(found.checks[0]._replace(is_good=False), *found.checks[1:]))
    assert "bad: adaptinf" in repr(bad) and not bad.is_good
    with pytest.raises(ConfigError, match="changes a setting of a stream"):
        api.doctor(settings={"seed": 1})


@pytest.fixture
def in_process(monkeypatch):
    """Runs of a comparison in this process, one after another."""

    def run(unfinished, progress, num_workers, cache, on_finished):
        for one, steps in unfinished:
            with lock.held(one.folder):
                run_all(replace(Run.open(one.folder), cache=cache), num_steps=steps)

    monkeypatch.setattr(processes, "_run_unfinished", run)


def test_compare_returns_its_table_and_records(stream, tmp_path, in_process):
    variants = {"slow": {"method": "random_replay", "training.learning_rate": 1e-5}}
    found = api.compare(stream, methods="random_replay", seeds=[0, 1], variants=variants, steps=1, out=tmp_path / "cmp")
    assert [row.name for row in found.table.rows] == ["random_replay", "slow"] and found.table.errors == []
    assert [(one.name, one.seed) for one in found.records] == [
        (name, seed) for name in ("random_replay", "slow") for seed in (0, 1)
    ]
    assert found.report.is_file() and len(read_records(found.records_file).records) == 4
    assert found.to_pandas().index.tolist() == ["random_replay", "slow"]
    assert "4 runs" in repr(found) and "slow" in found._repr_html_()
    for wrong in ([], [-1], [0.5]):
        with pytest.raises(ConfigError, match="whole numbers from 0"):
            api.compare(stream, methods=["random_replay"], seeds=wrong, out=tmp_path / "other")


def test_demo_returns_its_runs(tmp_path, in_process, monkeypatch):
    monkeypatch.setattr(demo_run, "DEMO_SCALE", 0.02)
    monkeypatch.setattr(demo_run, "DEMO_TESTS_PER_SKILL", 1)
    found = api.demo(out=tmp_path / "demo", methods=["random_replay", "sequential"], steps=1)
    assert [run.folder.name for run in found.runs] == ["random_replay", "sequential"] and found.report.is_file()
    assert found.to_pandas()["num_steps"].tolist() == [1, 1] and "sequential" in repr(found)
    assert (tmp_path / "demo" / "summary.json").is_file() and "sequential" in found._repr_html_()
    with pytest.raises(ConfigError, match="methods is empty"):
        api.demo(out=tmp_path / "none", methods=())


def test_results_are_frozen(done):
    found = [done, done.summary, api.status(done.folder), api.list(), api.list().entries[0], done.run]
    for result in found:
        assert dataclasses.is_dataclass(result)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, None)
