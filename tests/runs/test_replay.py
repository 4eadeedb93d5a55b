"""A share of old data and weights of datasets in whole runs: what they ask for, what is given, and where it is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Replay, Selection
from adaptinf.errors import ConfigError
from adaptinf.pipeline import run_all
from adaptinf.report import write_report
from adaptinf.runs import Run, overrule, preflight
from adaptinf.runs.status import status_of
from adaptinf.storage import tables
from tests.helpers.chosen_runs import begun, small_datasets, without_training
from tests.helpers.streams import write_stream

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    without_training(monkeypatch)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return small_datasets(tmp_path_factory.mktemp("data"))


def weighted(datasets: list[dict[str, Any]], weights: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{**one, **({"weight": weights[one["name"]]} if one["name"] in weights else {})} for one in datasets]


def made(
    folder: Path, datasets: list[dict[str, Any]], weights: Mapping[str, float] | None = None, **selection: Any
) -> Run:
    return begun(folder, weighted(datasets, weights or {}), **selection)


def sources(run: Run, step: int) -> dict[str, int]:
    selection = run.load(step, Selection)
    assert selection is not None
    return dict(Counter(id.partition("/")[0] for id in selection.ids))


def test_a_share_of_old_data_is_kept_to_where_there_are_enough_of_both(tmp_path: Path, datasets: Any) -> None:
    run = made(tmp_path, datasets, replay_share=0.3)
    assert sources(run, 0) == {"one": 8}
    # 2.4 of 8 are 2; the dataset `two` has all 6 that are left.
    assert sources(run, 1) == {"one": 2, "two": 6}
    assert sources(run, 2)["six"] == 6
    found = [tables.read_json(run.stage_folder(step, Selection) / "info.json")["replay"] for step in range(3)]
    assert found == [{"wanted": 2, "given": 0}, {"wanted": 2, "given": 2}, {"wanted": 2, "given": 2}]
    assert status_of(run).steps[1].replay == Replay(wanted=2, given=2)
    assert (
        "step 1 selected 6 of 6 of the new dataset two, 2 of 12 of earlier datasets"
        in status_of(run).composition_lines()
    )
    api.explain(run.folder, "one/000")
    page = write_report([run.folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "By the settings: 6 of 9 of the new dataset six, 2 of 18 of earlier datasets." in page


def test_without_any_of_it_a_run_says_nothing_of_parts(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets[:2])
    for step in range(2):
        info = tables.read_json(run.stage_folder(step, Selection) / "info.json")
        assert info.keys() == {"rows", "clusters"}
        table = tables.read_table(run.stage_folder(step, Selection) / Selection.SAMPLES)
        assert list(table) == ["id", "cluster", "scorer", "score", "bin", "rank"]
    assert not list(run.pool_folder.glob("*.jsonl")) and not status_of(run).composition_lines()


def test_a_side_that_has_too_few_leaves_the_rest_to_the_other(tmp_path: Path, datasets: Any) -> None:
    run = made(tmp_path, datasets, replay_share=0.0, budget=10)
    assert sources(run, 1) == {"one": 4, "two": 6}
    info = tables.read_json(run.stage_folder(1, Selection) / "info.json")
    assert info["replay"] == {"wanted": 0, "given": 4}
    assert [(part["side"], part["size"], part["wanted"], part["given"]) for part in info["parts"]] == [
        ("new", 6, 10, 6), ("old", 12, 0, 4),
    ]  # fmt: skip


def test_weights_share_what_is_for_earlier_datasets_or_all_of_it(tmp_path: Path, datasets: Any) -> None:
    run = made(tmp_path / "a", datasets, {"one": 0.5, "two": 3}, replay_share=0.5)
    # 12 x 0.5 and 6 x 3: a quarter and three quarters of 4.
    assert sources(run, 2) == {"one": 1, "two": 3, "six": 4}
    run = made(tmp_path / "b", datasets, {"one": 0.5}, budget=7)
    # 6, 6 and 9 of 21.
    assert sources(run, 2) == {"one": 2, "two": 2, "six": 3}


def test_the_weight_of_a_dataset_changes_no_step_before_it_arrives(tmp_path: Path, datasets: Any) -> None:
    whole, first = made(tmp_path / "whole", datasets, {"six": 2.0}), made(tmp_path / "first", datasets[:2])
    for step in range(2):
        for path in first.stage_folder(step, Selection).iterdir():
            assert (whole.stage_folder(step, Selection) / path.name).read_bytes() == path.read_bytes(), path.name
    # 12, 6 and 2 x 9 of 36.
    assert sources(whole, 2) == {"one": 3, "two": 1, "six": 4}


def test_a_dataset_of_weight_0_is_never_replayed(tmp_path: Path, datasets: Any) -> None:
    run = made(tmp_path, datasets, {"one": 0.0}, replay_share=0.5)
    assert sources(run, 0) == {"one": 8}
    assert sources(run, 1) == {"two": 6} and sources(run, 2) == {"two": 4, "six": 4}
    history = api.explain(run.folder, "one/000")
    assert history.steps[1].considered is not None
    assert history.steps[1].considered.reason == "its dataset has weight 0: nothing of it is selected"


def test_explain_computes_ranks_inside_of_the_part(tmp_path: Path, datasets: Any) -> None:
    run = made(tmp_path, datasets[:2], method="adapt", replay_share=0.5)
    selection = run.load(1, Selection)
    assert selection is not None
    seen = Counter[bool]()
    for id in run.pool(1).ids:
        outcome = api.explain(run.folder, id).steps[-1].considered
        assert outcome is not None
        side, size = ("new", 6) if id.startswith("two/") else ("old", 12)
        assert outcome.reason.endswith(f"of the {side} side: 4 of {size}, wanted 4")
        assert outcome.rank is not None and outcome.chosen == (outcome.rank < (outcome.budget or 0))
        if outcome.chosen:
            (row,) = (selection.table["id"] == id).nonzero()[0]
            assert selection.table["rank"][row] == outcome.rank
        seen[outcome.chosen] += 1
    assert seen == {True: 8, False: 10}


@pytest.mark.parametrize(
    ("method", "selection", "weights", "line"),
    [
        (
            "multitask",
            {"replay_share": 0.3},
            {},
            "=0.3 does not go with multitask, which trains on the whole",
        ),
        (
            "sequential",
            {"replay_share": 0.3},
            {},
            "=0.3 does not go with sequential, which chooses its candidates",
        ),
        ("adapt", {}, {"one": 0, "two": 0, "six": 0}, "weight is 0 for all 3 datasets, so nothing could be chosen"),
        ("adapt", {"replay_share": 0.1}, {"one": 0, "two": 0, "six": 0}, "so nothing could be replayed"),
        ("adapt", {}, {"one": 0, "two": 0}, "weight is 0 for one, so step 0 to 1 would have nothing to choose"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_before_anything_is_measured(
    tmp_path: Path, datasets: Any, method: str, selection: Any, weights: Any, line: str
) -> None:
    entries = weighted(datasets, weights)
    stream = write_stream(tmp_path / "s.yaml", entries, selection={"method": method, **selection})
    with pytest.raises(ConfigError, match="cannot start:\n") as refused:
        preflight.check(configuration.load(stream), whole_stream=True)
    assert line in str(refused.value) and str(refused.value).count("\n") == 1


@pytest.mark.parametrize("value", [1, 1.5, -0.1, ".nan", ".inf", "a third", "[0.3]"])
def test_a_share_out_of_range_is_one_line(tmp_path: Path, datasets: Any, value: Any) -> None:
    stream = write_stream(tmp_path / "s.yaml", datasets)
    with pytest.raises(ConfigError, match=r"1 mistake\n  selection\.replay_share[^\n]*$"):
        configuration.load(stream, [f"selection.replay_share={value}"])


@pytest.mark.parametrize("value", [-1, ".nan", ".inf", "much"])
def test_a_weight_out_of_range_is_one_line(tmp_path: Path, datasets: Any, value: Any) -> None:
    stream = write_stream(tmp_path / "s.yaml", datasets)
    with pytest.raises(ConfigError, match=r"1 mistake\n  stream\.1\.weight[^\n]*$"):
        configuration.load(stream, [f"stream.1.weight={value}"])


def test_weights_without_effect_are_noted_and_not_refused(tmp_path: Path, datasets: Any) -> None:
    entries = [{**datasets[0], "weight": 2}, *datasets[1:]]
    for method in ("multitask", "sequential"):
        config = configuration.load(write_stream(tmp_path / "s.yaml", entries, selection={"method": method}))
        preflight.check(config, whole_stream=True)
        assert any(
            line.startswith(f"stream: weight has no effect with {method}, ") for line in preflight.unused(config)
        )
    entries = [*datasets[:1], {**datasets[1], "weight": 0}]
    config = configuration.load(write_stream(tmp_path / "s.yaml", entries))
    assert any(
        "two has weight 0, so that none of it is trained on, at its own" in line for line in preflight.unused(config)
    )


def test_a_step_whose_other_datasets_were_withdrawn_is_refused_if_the_weights_leave_nothing(
    tmp_path: Path, datasets: Any
) -> None:
    entries = [datasets[0], {**datasets[1], "weight": 0}]
    changes = {"selection": {"method": "random_replay", "budget": 8}}
    run = Run.create(tmp_path / "run", configuration.load(write_stream(tmp_path / "s.yaml", entries, **changes)))
    run_all(run, num_steps=1)
    overrule.withdraw(run, "one")
    with pytest.raises(ConfigError, match="weight is 0 for all of two, and step 1 has no other dataset to choose from"):
        run_all(run)
    assert not run.step_folder(1).exists()


def test_a_share_or_weight_that_changes_in_a_run_is_refused(tmp_path: Path, datasets: Any) -> None:
    run = made(tmp_path, datasets[:1], replay_share=0.3)
    for changed in ({"replay_share": 0.4}, {}):
        again = configuration.load(
            write_stream(tmp_path / "s.yaml", datasets, selection={"method": "random_replay", "budget": 8, **changed},
                         pruning={"cap": "none"})
        )  # fmt: skip
        with pytest.raises(ConfigError, match=r"selection\.replay_share=0\.3, now it is"):
            Run.create(run.folder, again)
