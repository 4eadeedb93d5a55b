"""exclude and restore: samples leave the pool from a step on, and the last thing that took them out is undone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adaptinf import api, verify
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.pipeline import run_all
from adaptinf.pool.corrections import EXCLUDED, excluded_ids, exclusions
from adaptinf.report import write_report
from adaptinf.runs import Run, overrule
from adaptinf.runs.status import status_of
from adaptinf.runs.stream import join
from adaptinf.storage import store
from tests.helpers.chosen_runs import SIZES, begun, pruned, selected, small_datasets, without_training
from tests.helpers.streams import rows, write_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    without_training(monkeypatch)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return small_datasets(tmp_path_factory.mktemp("data"))


def id_file(folder: Path, ids: list[str]) -> str:
    path = folder / "ids.txt"
    path.write_text("".join(f"{id}\n" for id in ids), encoding="utf-8")
    return str(path)


def test_excluded_samples_are_in_no_later_pool_and_earlier_ones_stay_as_they_were(
    tmp_path: Path, datasets: Any
) -> None:
    run = begun(tmp_path, datasets, num_steps=1)
    before = set(run.pool(0).ids)
    out = sorted(selected(run, 0))[:3]
    said = overrule.exclude(run, id_file(tmp_path, [*out, "", out[0]]), why="in the test set")
    assert said.text == "3 samples are out of the pool from step 1 on (in the test set)"
    assert (said.from_step, said.is_new) == (1, True)
    again = overrule.exclude(run, out[0])
    assert (again.text, again.is_new) == (f"{out[0]} is excluded already", False)
    lines = store.read_lines(run.pool_folder / EXCLUDED)
    assert [(line["id"], line["step"], line["why"]) for line in lines] == [(id, 1, "in the test set") for id in out]
    run_all(run)
    assert set(run.pool(0).ids) == before
    for step in (1, 2):
        assert not set(out) & (set(run.pool(step).ids) | selected(run, step))
    found = status_of(run)
    assert (found.excluded, found.pool) == (3, sum(SIZES.values()) - 3 == len(run.pool(3)) and len(run.pool(3)))
    history = api.explain(run.folder, out[0])
    assert history.state == "excluded from step 1 on (in the test set)" == history.steps[1].absent
    assert history.steps[0].absent is None
    page = write_report([run.folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "3 samples were excluded" in page and "in the test set" in page
    exported = api.export(run.folder, step=0)
    assert exported.num_excluded == 3 and exported.num_samples == 5


@pytest.mark.parametrize("method", ["random_replay", "adapt_plus"])
def test_exclude_then_restore_gives_the_selection_of_never_having_excluded(
    tmp_path: Path, datasets: Any, method: str
) -> None:
    plain = begun(tmp_path / "plain", datasets[:2], method=method, cap=14)
    run = begun(tmp_path / "undone", datasets[:2], num_steps=1, method=method, cap=14)
    ids = id_file(tmp_path, sorted(run.pool(1 - 1).ids)[:4])
    assert overrule.exclude(run, ids).is_new
    said = overrule.restore(run, ids)
    assert said.text == "from step 1 on 4 samples restored (4 excluded)"
    assert overrule.restore(run, ids).text == "all 4 samples are in the pool already"
    run_all(run)
    assert selected(run, 1) == selected(plain, 1) and pruned(run, 1) == pruned(plain, 1)
    one = next(iter(pruned(run, 1)))
    assert one in pruned(plain, 1), "a sample that was excluded and restored is an ordinary one"


def test_restore_undoes_the_last_thing_first(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=1, cap=6)
    id = sorted(pruned(run, 0))[0]
    assert overrule.exclude(run, id, why="spam").text.endswith("(spam); 1 of them pruned before")
    assert "but it was pruned at step 0 before; restore it again to bring it back" in overrule.restore(run, id).text
    assert id not in run.pool(1).ids
    assert overrule.restore(run, id).text.endswith("it will not be pruned again")
    assert id in run.pool(1).ids
    assert "restored already" in overrule.restore(run, id).text
    # Excluded once more, after the restoring: that is the last thing now.
    overrule.exclude(run, id)
    assert id not in run.pool(1).ids
    assert overrule.restore(run, id).text == f"{id}, excluded from step 1 on, is in the pool again from step 1 on"
    run_all(run, num_steps=2)
    assert id in run.pool(1).ids and id not in pruned(run, 1)
    assert [one.why for one in exclusions(run.pool_folder)[id]] == ["spam", None, "", None]


def test_a_file_may_hold_pruned_and_excluded_samples(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=1, cap=6)
    gone, there = sorted(pruned(run, 0))[:2], sorted(run.pool(1).ids)[:2]
    overrule.exclude(run, there[0])
    said = overrule.restore(run, id_file(tmp_path, [*gone, *there]))
    assert said.text == (
        "from step 1 on 3 samples restored (1 excluded, 2 pruned, and not pruned again); 1 in the pool already"
    )
    assert {*gone, *there} <= set(run.pool(1).ids)


def test_names_that_are_wrong_are_refused_in_one_line_and_nothing_changes(tmp_path: Path, datasets: Any) -> None:
    bad = write_dataset(tmp_path, "bad", [{"id": "000", "conversations": []}, *rows(3, images=False)[1:]])
    run = begun(tmp_path, [bad], num_steps=1)
    file = id_file(tmp_path, ["bad/001", "bad/003", "bad/9", "bad/000"])
    for command in (overrule.exclude, overrule.restore):
        with pytest.raises(ConfigError) as refused:
            command(run, file)
        assert str(refused.value) == (
            f"{file} names 2 unknown ids: 'bad/003', 'bad/9'; did you mean 'bad/002' or 'bad/001'?; 1 rejected row: "
            "'bad/000'; correct the file, nothing has changed"
        )
        with pytest.raises(ConfigError, match=r"has no sample 'bad/01'; did you mean 'bad/001'"):
            command(run, "bad/01")
    assert not (run.pool_folder / EXCLUDED).exists()
    with pytest.raises(ConfigError, match="has no ids"):
        overrule.exclude(run, id_file(tmp_path, []))
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as text"):
        overrule.exclude(run, str(tmp_path / "ids.txt"))
    for why in ("two\nlines", "x" * 301):
        with pytest.raises(ConfigError, match="must be one line of at most 300 characters"):
            overrule.exclude(run, "bad/001", why=why)


def test_a_step_under_way_goes_on_with_the_pool_that_it_began_with(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=1)
    join(run, 1)
    run.step_folder(1).mkdir()
    id = sorted(run.pool(1).ids)[0]
    assert overrule.exclude(run, id).from_step == 2
    run_all(run)
    assert id in run.pool(1).ids and id not in run.pool(2).ids


def test_a_dataset_of_which_everything_is_excluded_leaves_an_empty_step(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=0)
    api.run(tmp_path / "s.yaml", out=run.folder)
    ids = sorted(run.pool(2).ids)
    assert overrule.exclude(run, id_file(tmp_path, ids)).is_new
    run = Run.open(api.add(run.folder, datasets[0]["path"], name="more", images=datasets[0]["images"]).folder)
    run_all(run)
    assert {id.partition("/")[0] for id in run.pool(3).ids} == {"more"}


def test_the_log_is_checked_line_by_line_and_must_not_be_lost(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=1)
    overrule.exclude(run, "one/000", why="a")
    path = run.pool_folder / EXCLUDED
    text = path.read_text()
    assert verify.verify(run).is_whole
    path.write_text(text.replace('"a"', '"b"'))
    with pytest.raises(StoreError, match=r"excluded\.jsonl line 1 is damaged: its checksum differs"):
        run.pool(1)
    assert not verify.verify(run).is_whole
    path.unlink()
    with pytest.raises(StoreError, match=r"excluded\.jsonl is missing or empty, but the pool was corrected 1 time"):
        run_all(run)
    path.write_text(json.dumps({"id": "one/001"}) + "\n")
    assert excluded_ids(run.pool_folder).keys() == {"one/001"}, "a line by hand applies to all steps"


def test_a_correction_can_be_made_again_for_a_step_that_is_taken_again(tmp_path: Path, datasets: Any) -> None:
    run = begun(tmp_path, datasets, num_steps=2, cap=8)
    gone, back = min(selected(run, 1)), min(pruned(run, 0))
    assert overrule.exclude(run, gone).from_step == overrule.restore(run, back).from_step == 2
    overrule.withdraw(run, "six")
    shutil.rmtree(run.step_folder(1))
    again = [overrule.exclude(run, gone), overrule.restore(run, back), overrule.withdraw(run, "six")]
    assert [(one.is_new, one.from_step) for one in again] == [(True, 1)] * 3
    assert not overrule.exclude(run, gone).is_new
    run_all(run, num_steps=2)
    assert gone not in run.pool(1).ids and back in run.pool(1).ids and back not in pruned(run, 1)
