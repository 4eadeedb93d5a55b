"""Whole runs that carry measurements over: what is measured, kills, losses, drift, executors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptinf import config as configuration
from adaptinf.cli.sample_text import history_text
from adaptinf.data import Clusters, Features, Selection
from adaptinf.errors import ConfigError
from adaptinf.extraction.refresh import plan
from adaptinf.history.explain import sample_history
from adaptinf.pipeline import refreshing, run_all
from adaptinf.progress import Silent
from adaptinf.report import write_report
from adaptinf.results.recording import record_of
from adaptinf.runs import Run
from adaptinf.runs.accept import accept
from adaptinf.runs.overrule import restore
from adaptinf.runs.status import status_of
from adaptinf.storage import store
from tests.helpers.streams import SETTINGS, rows, write_dataset, write_stream
from tests.helpers.text_model import write_text_model

pytestmark = pytest.mark.usefixtures("one_thread")
TRAINING = {"tune": "lora", "learning_rate": 1.0e-4, "batch_size": 2, "micro_batch_size": 2}
"""Changes the model a little."""


@pytest.fixture(autouse=True)
def small_control_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CONTROL_ROWS", 4)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("data")
    return [write_dataset(folder, name, rows(12, word=name)) for name in ("one", "two", "three")]


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def begin(folder: Path, datasets: list[dict[str, Any]], refresh: Any = "new", **changes: Any) -> Run:
    extraction = {**SETTINGS["extraction"], "refresh": refresh}
    selection = {"method": "adapt", "budget": 4}
    settings = {
        **{"extraction": extraction, "training": TRAINING, "selection": selection, "pruning": {"cap": 30}},
        **changes,
    }
    stream = write_stream(folder.with_suffix(".yaml"), datasets, **settings)
    return Run.create(folder, configuration.load(stream), progress=Notes())


def finished(folder: Path, datasets: list[dict[str, Any]], refresh: Any = "new", **changes: Any) -> Run:
    run = begin(folder, datasets, refresh, **changes)
    run_all(run)
    return run


def report(run: Run, step: int) -> dict[str, Any]:
    found = features(run, step).info[Features.REFRESH]
    assert isinstance(found, dict)
    return found


def features(run: Run, step: int) -> Features:
    found = run.load(step, Features)
    assert found is not None
    return found


def content(run: Run, step: int) -> dict[str, bytes]:
    """Return the bytes of the features, without what the info says of the way to them."""
    return {
        path.name: path.read_bytes()
        for path in sorted(run.stage_folder(step, Features).iterdir())
        if path.name not in (store.INFO, "checksums.json")
    }


def test_new_on_a_stream_of_one_dataset_is_all_to_the_last_byte(datasets, tmp_path):
    every, new = (finished(tmp_path / str(one), datasets[:1], one) for one in ("all", "new"))
    for kind in (Features, Clusters, Selection):
        for path in every.stage_folder(0, kind).iterdir():
            assert (new.stage_folder(0, kind) / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_step_measures_what_is_new_trained_on_or_of_the_control_sample(datasets, tmp_path):
    run = finished(tmp_path / "run", datasets, extraction={**SETTINGS["extraction"], "refresh": "new", "keep": "all"})
    assert report(run, 1)["everything"] is None and report(run, 2)["everything"] is None
    for step in (1, 2):
        before, now = features(run, step - 1), features(run, step)
        fresh = now.steps_measured_at(step) == step
        assert report(run, step)["measured"] == Features.num_measured(run.stage_folder(step, Features)) == fresh.sum()
        new = ~np.isin(now.ids, before.ids)
        selection = run.load(step - 1, Selection)
        assert selection is not None and fresh[new].all() and fresh[np.isin(now.ids, selection.ids)].all()
        assert fresh.sum() <= new.sum() + len(selection.ids) + 4 < len(now.ids)
        # What is carried over is as it was, and nothing is empty.
        row = np.searchsorted(before.ids, now.ids[~fresh])
        assert np.array_equal(now.vectors[~fresh], before.vectors[row])
        assert np.array_equal(now.embeddings[~fresh], before.embeddings[row])
        assert np.array_equal(now.scores["el2n"][~fresh], before.scores["el2n"][row])
        assert now.vectors.any(axis=1).all() and np.isfinite(now.scores["el2n"]).all()
        control = report(run, step)["control"]
        assert control["rows"] == 4 and control["relative_cosine"] > 0.9
        assert {"rows", "shift", "rank_correlation", "separation"} == control["scores"]["el2n"].keys()
    ages = {int(age): count for age, count in report(run, 2)["ages"].items()}
    found = 2 - features(run, 2).steps_measured_at(2)
    assert ages == {int(age): int((found == age).sum()) for age in np.unique(found)}


class Stop(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def whole(datasets, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "CONTROL_ROWS", 4)
        return finished(tmp_path_factory.mktemp("whole") / "run", datasets[:2])


MOMENTS = [
    "_separation",
    *(pytest.param(one, marks=pytest.mark.slow) for one in ("_plan", "compare_control", "_report", "discard")),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_was_killed_gives_the_same_rows(datasets, whole, tmp_path, monkeypatch, moment):
    run = begin(tmp_path / "killed", datasets[:2])
    owner: Any = {"discard": store, "compare_control": refreshing}.get(moment, refreshing._Measuring)
    real = getattr(owner, moment)

    def killed(*args: Any, **options: Any) -> Any:
        made = real(*args, **options)
        if moment != "discard" or args[0].name == refreshing.FOLDER:
            raise Stop
        return made

    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killed)
        with pytest.raises(Stop):
            run_all(run)
    run_all(run)
    assert content(run, 1) == content(whole, 1)
    assert report(run, 1) == report(whole, 1)
    assert not (run.stage_folder(1, Features) / refreshing.FOLDER).exists()


def test_what_is_lost_after_a_kill_is_not_carried_over(datasets, tmp_path, monkeypatch):
    run = begin(tmp_path / "killed", datasets[:2])

    def killed(*_: Any, **__: Any) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(refreshing, "compare_control", killed)
        with pytest.raises(Stop):
            run_all(run)
    path = run.stage_folder(0, Features) / Features.VECTORS
    whole = path.read_bytes()
    path.write_bytes(whole[:-640] + b"\x3c" * 640)
    run_all(begin(tmp_path / "killed", datasets[:2]))
    assert report(run, 1)["reasons"]["missing"] > 0
    assert not (features(run, 1).vectors[:, 0] > 1).any()


def test_lost_vectors_are_measured_again_and_counted(datasets, tmp_path):
    run = finished(tmp_path / "run", datasets[:2])
    run = begin(tmp_path / "run", datasets)
    Features.drop_arrays(run.stage_folder(1, Features))
    run_all(run)
    assert report(run, 2)["reasons"]["missing"] > 0 and report(run, 2)["measured"] == len(features(run, 2).ids)
    assert np.isfinite(features(run, 2).scores["el2n"]).all() and features(run, 2).measured_at is None
    assert isinstance(run.progress, Notes) and any("everything is measured" in line for line in run.progress.lines)


def test_a_damaged_file_of_the_step_before_costs_time_only(datasets, tmp_path):
    run = finished(tmp_path / "run", datasets[:2])
    path = run.stage_folder(1, Features) / Features.VECTORS
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    again = begin(tmp_path / "run", datasets)
    run_all(again)
    assert report(again, 2)["reasons"]["missing"] > 0
    assert np.isfinite(features(again, 2).scores["el2n"]).all()


def test_a_restored_sample_is_measured_at_the_next_step(datasets, tmp_path):
    run = finished(tmp_path / "run", datasets[:2], pruning={"cap": 14})
    before = set(features(run, 1).ids)
    gone = sorted(before - set(run.pool(2).ids))[0]
    restore(run, gone)
    again = begin(tmp_path / "run", datasets, pruning={"cap": 14})
    run_all(again)
    found = features(again, 2)
    assert found.steps_measured_at(2)[found.ids == gone].tolist() == [2]
    assert report(again, 2)["reasons"]["restored"] == 1


def test_an_image_that_can_be_opened_again_is_measured(tmp_path):
    data = [write_dataset(tmp_path, name, rows(12, word=name)) for name in ("one", "two", "three")]
    image = tmp_path / "images" / "red.png"
    pixels = image.read_bytes()
    run = begin(tmp_path / "run", data[:1])
    run_all(run)
    image.unlink()
    run = begin(tmp_path / "run", data[:2])
    run_all(run)
    unreadable = features(run, 1).info["unreadable"]
    assert unreadable and set(unreadable) == set(features(run, 1).unusable)
    image.write_bytes(pixels)
    run = begin(tmp_path / "run", data)
    run_all(run)
    found = features(run, 2)
    which = np.isin(found.ids, unreadable)
    assert which.any() and (found.steps_measured_at(2)[which] == 2).all()
    assert np.isfinite(found.scores["el2n"][which]).all() and not found.unusable


def test_a_model_that_is_trained_hard_between_two_steps_has_everything_measured(datasets, whole, tmp_path):
    hard = {**TRAINING, "learning_rate": 5.0e-2, "epochs": 4}
    run = finished(tmp_path / "run", datasets[:2], training=hard)
    assert report(run, 1)["everything"] is not None
    assert report(run, 1)["measured"] == len(features(run, 1).ids) and features(run, 1).measured_at is None
    assert isinstance(run.progress, Notes)
    assert [line for line in run.progress.lines if line.startswith("extraction.refresh: everything is measured")]
    assert report(whole, 1)["everything"] is None and report(whole, 1)["carried"] > 0


def test_a_changed_plug_in_has_everything_measured(datasets, tmp_path):
    scorer = tmp_path / "mine.py"
    scorer.write_text(_constant_scorer(1.0))
    run = finished(tmp_path / "run", datasets[:2], plugins=[str(scorer)])
    assert report(run, 1)["everything"] is None
    scorer.write_text(_constant_scorer(2.0))
    run = begin(tmp_path / "run", datasets, plugins=[str(scorer)])
    run_all(run)
    assert "plug-ins" in report(run, 2)["everything"]
    assert set(features(run, 2).scores["mine"]) == {2.0}


def test_a_proxy_of_another_width_that_was_accepted_has_everything_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "CONTROL_ROWS", 4)
    data = [write_dataset(tmp_path, name, rows(12, images=False, word=name)) for name in ("one", "two")]
    proxy = write_text_model(tmp_path / "proxy")
    measuring = {"model": str(proxy), "vector": "hidden", "image": "unmeasured", "refresh": "new"}
    run = finished(tmp_path / "run", data[:1], extraction=measuring)
    write_text_model(proxy, hidden_size=48)
    run = begin(tmp_path / "run", data, extraction=measuring)
    run.write_config()
    accept(run, "base")
    run_all(run)
    assert "another base model from step 1 on" in report(run, 1)["everything"]
    assert features(run, 1).vectors.shape == (24, 48) and report(run, 1)["measured"] == 24


def _constant_scorer(value: float) -> str:
    return (
        "from adaptinf.registry import scorer\n"
        "@scorer('mine')\n"
        "def mine():\n"
        f"    return lambda outcome: outcome.mean(outcome.error_T * 0 + {value})\n"
    )


def test_refresh_may_change_from_a_step_to_the_next_and_all_is_as_ever(datasets, tmp_path):
    finished(tmp_path / "run", datasets[:1], "all")
    finished(tmp_path / "run", datasets[:2], {"max_age": 2})
    run = finished(tmp_path / "run", datasets, "all")
    assert report(run, 1)["setting"] == {"max_age": 2} and report(run, 1)["carried"] > 0
    assert Features.REFRESH not in features(run, 2).info
    events = [json.loads(line) for line in run.events_file.read_text().splitlines()]
    assert [one["after"] for one in events if one.get("setting") == "extraction.refresh"] == [{"max_age": 2}, "all"]


@pytest.mark.slow
def test_workers_in_other_processes_give_the_same_bytes(datasets, whole, tmp_path):
    others = finished(tmp_path / "others", datasets[:2], executor="processes", workers=2)
    assert content(whole, 1) == content(others, 1) and report(whole, 1) == report(others, 1)


def test_a_selector_that_needs_one_model_for_all_is_refused_by_name(datasets, tmp_path):
    from adaptinf.runs.preflight import check

    plugin = tmp_path / "picky.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nimport numpy as np\n"
        "from adaptinf.registry import selector\nfrom adaptinf.selection.interface import Choice\n\n\n"
        "@selector('picky')\n@dataclass(frozen=True)\nclass Picky:\n"
        "    needs: ClassVar[frozenset[str]] = frozenset({'scores'})\n    needs_same_step: ClassVar[bool] = True\n\n"
        "    def choose(self, candidates, budget):\n        return Choice(rows=np.arange(budget))\n"
    )
    run = begin(tmp_path / "run", datasets, plugins=[str(plugin)], selection={"method": "picky", "budget": 8})
    with pytest.raises(ConfigError, match="picky needs all samples measured with one model"):
        check(run.config, whole_stream=True)
    check(begin(tmp_path / "all", datasets, "all", plugins=[str(plugin)]).config, whole_stream=True)


@pytest.mark.parametrize("refresh", [0, 1, 1.5, -0.1, True, "old", {"max_age": 0}, {"age": 3}])
def test_other_values_are_refused(datasets, tmp_path, refresh):
    with pytest.raises(ConfigError, match="extraction.refresh"):
        begin(tmp_path / "run", datasets, refresh)


def test_explain_status_and_report_show_ages(datasets, tmp_path):
    run = finished(tmp_path / "run", datasets[:2])
    old = [id for id, at in zip(features(run, 1).ids, features(run, 1).steps_measured_at(1), strict=True) if at == 0]
    history = sample_history(run, old[0])
    assert [step.measured_at for step in history.steps] == [0, 0]
    assert "at step 0, 1 step ago" in history_text(history)
    assert history.to_pandas()["measured_at"].tolist() == [0, 0]
    found = status_of(begin(tmp_path / "run", datasets)).seconds_left
    assert found is not None and found > 0
    assert json.loads(json.dumps(record_of(run).as_json()["steps"][1]))["measured"] == report(run, 1)["measured"]
    page = write_report([run.folder], tmp_path / "report.html").read_text()
    assert "Samples measured in each step, and carried over" in page
