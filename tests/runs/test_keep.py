"""selection.keep: drawn first when they arrive, never pruned, and refused where they cannot be kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.errors import ConfigError, StoreError
from adaptinf.pipeline import run_all
from adaptinf.pool.corrections import KEPT, kept_ids
from adaptinf.runs import Run, overrule, preflight
from adaptinf.runs.status import status_of
from tests.helpers.chosen_runs import SIZES, begun, pruned, selected, small_datasets, stream_file, without_training
from tests.helpers.streams import rows, write_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    without_training(monkeypatch)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return small_datasets(tmp_path_factory.mktemp("data"))


def keep(folder: Path, ids: list[str]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "keep.txt"
    path.write_text("".join(f"{id}\n" for id in ids), encoding="utf-8")
    return str(path)


EVERY = [f"{name}/{number:03d}" for name, count in SIZES.items() for number in range(count)]


def test_kept_samples_are_drawn_when_they_arrive_and_never_pruned(tmp_path: Path, datasets: Any) -> None:
    tries = iter(range(100))

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ids=st.sets(st.sampled_from(EVERY), max_size=6), share=st.sampled_from([None, 0.0, 0.25]))
    def holds(ids: set[str], share: float | None) -> None:
        folder = tmp_path / str(next(tries))
        run = begun(folder, datasets, cap=6, keep=keep(folder, sorted(ids)), replay_share=share)
        for step, name in enumerate(SIZES):
            arriving = {id for id in ids if id.startswith(f"{name}/")}
            assert arriving <= selected(run, step) and len(selected(run, step)) == 8
            assert not ids & pruned(run, step)
            assert len(run.pool(step)) - len(pruned(run, step)) == 6
        assert ids <= set(run.pool(3).ids)
        assert status_of(run).kept_ids == len(ids)

    holds()


def test_a_share_counts_what_is_not_kept(tmp_path: Path, datasets: Any) -> None:
    file = keep(tmp_path, ["six/000", "six/001", "six/002", "six/003"])
    run = begun(tmp_path, datasets, keep=file, replay_share=0.5)
    assert sum(id.startswith("six/") for id in selected(run, 2)) == 6
    outcome = api.explain(run.folder, "six/001").steps[-1].considered
    assert outcome is not None and outcome.chosen
    assert outcome.reason.startswith("kept (selection.keep): drawn first") and outcome.reason.endswith(
        ": 4 of 4, wanted 4"
    )
    assert "2 of earlier" not in status_of(run).composition_lines()[0]


def refusal(config: Any, folder: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        preflight.check(config, whole_stream=True, folder=folder)
    return str(refused.value).split("\n")[1:]


def test_what_cannot_be_kept_is_refused_before_anything_is_measured(tmp_path: Path, datasets: Any) -> None:
    def lines(ids: list[str], **others: Any) -> list[str]:
        return refusal(configuration.load(stream_file(tmp_path, datasets, keep=keep(tmp_path, ids), **others)))

    ones, twos = EVERY[:12], EVERY[12:18]
    assert lines(ones, budget=11) == [
        "  selection.keep names 12 samples of the dataset of step 0, but selection.budget is 11; raise the budget, or "
        "keep fewer"
    ]
    assert lines(twos, budget=8, replay_share=0.4) == [
        "  selection.keep names 6 samples of the dataset of step 1, but selection.replay_share=0.4 leaves 5 of 8 for "
        "it; lower the share, or keep fewer"
    ]
    assert lines([*ones[:4], *twos[:4]], cap=7) == [
        "  selection.keep names 8 samples, but pruning.cap is 7; raise the cap, or keep fewer"
    ]
    (line,) = lines(["three/1", "one/001", "x"])
    assert "names 2 ids of no dataset of the stream: 'three/1', 'x'; an id is DATASET/ID, such as one/ID" in line
    Path(tmp_path / "keep.txt").unlink()
    (line,) = refusal(configuration.load(tmp_path / "s.yaml"))
    assert line.startswith("  selection.keep: ") and line.count("keep.txt") == 1


def test_ids_are_judged_when_their_dataset_is_there(tmp_path: Path, datasets: Any) -> None:
    bad = write_dataset(tmp_path, "bad", [{"id": "000", "conversations": []}, *rows(3, images=False)[1:]])
    run = begun(tmp_path, [bad], num_steps=0, keep=keep(tmp_path, ["bad/000", "bad/7", "bad/001"]))
    with pytest.raises(ConfigError, match=r"1 unknown id: 'bad/7'; did you mean .*; 1 rejected row: 'bad/000'; corr"):
        run_all(run)
    assert not run.step_folder(0).exists() and not (run.pool_folder / KEPT).exists()
    keep(tmp_path, ["bad/001"])
    run_all(run)
    assert kept_ids(run.pool_folder) == {"bad/001": 0}


def test_an_excluded_withdrawn_or_pruned_id_is_refused_by_name_until_it_leaves_the_file(
    tmp_path: Path, datasets: Any
) -> None:
    run = begun(tmp_path, datasets, num_steps=1, cap=8, keep=keep(tmp_path, ["one/000", "one/001"]))
    said = overrule.exclude(run, "one/000")
    assert said.text.endswith("1 of them kept: take it out of selection.keep, which the next step refuses otherwise")
    gone = sorted(pruned(run, 0))[0]
    keep(tmp_path, ["one/000", "one/001", gone])
    with pytest.raises(ConfigError, match=rf"1 excluded sample: 'one/000'; 1 pruned sample, .*: '{gone}'; correct"):
        run_all(run)
    keep(tmp_path, ["one/001", gone])
    overrule.restore(run, gone)
    run_all(run, num_steps=2)
    assert gone in run.pool(2).ids and kept_ids(run.pool_folder)[gone] == 1
    overrule.withdraw(run, "one")
    with pytest.raises(ConfigError, match=r"2 samples of withdrawn datasets: "):
        run_all(run)
    keep(tmp_path, [])
    run_all(run)


def test_the_file_may_grow_but_not_shrink_and_its_copy_goes_on_without_it(tmp_path: Path, datasets: Any) -> None:
    file = keep(tmp_path, ["one/000", "two/000"])
    run = begun(tmp_path, datasets, num_steps=1, keep=file, cap=8)
    keep(tmp_path, ["one/000"])
    with pytest.raises(ConfigError, match=r"lacks 1 id that the run keeps: 'two/000'; the file may grow only"):
        run_all(run)
    stays = sorted(set(run.pool(1).ids) - {"one/000", "two/000"})[0]
    keep(tmp_path, ["one/000", "two/000", stays])
    run_all(run, num_steps=2)
    assert kept_ids(run.pool_folder) == {"one/000": 0, "two/000": 0, stays: 1}
    Path(file).unlink()
    run_all(run)
    assert {"one/000", "two/000", stays} <= set(run.pool(3).ids)


def test_what_is_kept_after_a_step_has_begun_counts_from_the_next_one_on(tmp_path: Path, datasets: Any) -> None:
    file = keep(tmp_path, [])
    run = begun(tmp_path, datasets, num_steps=1, keep=file, cap=8)
    run.step_folder(1).mkdir()
    keep(tmp_path, ["two/000"])
    run_all(run, num_steps=2)
    assert kept_ids(run.pool_folder) == {"two/000": 2}


def test_a_file_may_come_later_and_move_but_not_go(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=1)
    later = configuration.load(stream_file(tmp_path, datasets, keep=keep(tmp_path, ["two/001"])))
    run = Run.create(run.folder, later)
    run_all(run, num_steps=2)
    assert "two/001" in selected(run, 1)
    moved = configuration.load(stream_file(tmp_path, datasets, keep=keep(tmp_path / "moved", ["two/001"])))
    run_all(Run.create(run.folder, moved))
    with pytest.raises(ConfigError, match=r"selection\.keep="):
        Run.create(run.folder, configuration.load(stream_file(tmp_path, datasets)))


def test_the_copy_is_checked_line_by_line(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=1, keep=keep(tmp_path, ["one/000"]))
    path = run.pool_folder / KEPT
    path.write_text(path.read_text().replace("one/000", "one/001"))
    with pytest.raises(StoreError, match=r"kept\.jsonl line 1 is damaged"):
        run_all(run)


def test_what_a_later_step_kept_is_drawn_by_an_earlier_one_that_is_taken_again(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=2, budget=3, keep=keep(tmp_path, ["one/000"]))
    left = min({f"two/{number:03d}" for number in range(6)} - selected(run, 1))
    keep(tmp_path, ["one/000", left])
    run_all(run)
    assert kept_ids(run.pool_folder) == {"one/000": 0, left: 2}
    for step in (1, 2):
        shutil.rmtree(run.step_folder(step))
    run_all(run)
    assert kept_ids(run.pool_folder) == {"one/000": 0, left: 1}
    assert left in selected(run, 1)
