"""verify --repair and the run after it: what is made again is as before, byte for byte, and what cannot be is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf.runs import Run
from adaptinf.runs.making_again import FORMER
from adaptinf.storage import checksums, store
from tests.helpers.run_folders import content
from tests.verify.conftest import named

pytestmark = pytest.mark.usefixtures("one_thread")

STAGES = ("check", "features", "clusters", "selection", "model", "evaluation", "pruning")
PLACES = ["steps/01/features", "steps/01/model", "steps/01/pruning", "steps/00/model", "pool/00-one", "base/evaluation"]
OTHERS = [f"steps/01/{stage}" for stage in ("check", "clusters", "selection", "evaluation")]
OTHERS += ["pool/01-two", *(f"steps/00/{stage}" for stage in ("check", "features", "selection", "evaluation"))]
"""Of the first step those that are not made from the arrays that it has dropped."""


def damage(folder: Path) -> Path:
    """Flip a bit of the largest file of a folder, and return its path."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != checksums.CHECKSUMS]
    path = max(files, key=lambda one: one.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return path


def goes_on(run: Path, call, *words):
    """Run the command that `verify` names, and return its progress."""
    code, _, err = call(*(words or ("run", run / "config.yaml", "--out", run)))
    assert code == 0, err
    return err


def results(run: Path) -> dict[str, bytes]:
    """Return the content of every file that a run computes; its page shows seconds, too."""
    return {name: data for name, data in content(run).items() if name != "report.html"}


def events(run: Path) -> list[dict]:
    return [line for line in store.read_lines(run / "events.jsonl") if line["event"] == "made_again"]


@pytest.mark.parametrize("place", [*PLACES, *(pytest.param(place, marks=pytest.mark.slow) for place in OTHERS)])
def test_a_damaged_folder_is_made_again_as_it_was(finished_runs, run, place, call):
    whole = results(finished_runs["adapt_plus"])
    path = damage(run / place)
    found = api.verify(run)
    (one,) = found.damaged
    assert one.path == path and one.folder == run / place and "--repair" in one.way_out
    repaired = api.verify(run, repair=True)
    assert repaired.removed == (run / place,) and not (run / place).exists()
    assert (run / place).with_name((run / place).name + FORMER).exists()
    # Nobody needs to repair twice; the run is not whole before it has gone on.
    assert named(api.verify(run)) == {place}
    err = goes_on(run, call)
    assert f"{run / place} was made again: every byte is as before" in err
    again = api.verify(run)
    assert again.is_whole and again.made_again == {run / place: ()}
    assert not list(run.rglob(f"*{FORMER}"))
    made = results(run)
    assert made.keys() == whole.keys()
    assert [name for name in whole if made[name] != whole[name]] == []
    (event,) = events(run)
    assert event["differing"] == []


def test_what_was_removed_is_listed_with_the_next_command_and_not_as_damage_once_more(run, call):
    damage(run / "steps/01/clusters")
    code, out, _ = call("verify", run, "--repair", "--quiet")
    next_command = f"adaptinf run {run}/config.yaml --out {run}"
    assert code == 2
    assert out.splitlines()[:-1] == [
        f"removed: {run}/steps/01/clusters",
        f"next: {next_command}, which makes again what was removed, and says whether every byte is as before",
    ]


def test_step_makes_again_what_is_missing_as_well(run, call):
    shutil.rmtree(run / "steps/01/evaluation")
    assert named(api.verify(run)) == {"steps/01/evaluation"}
    goes_on(run, call, "step", run)
    assert api.verify(run).is_whole
    code, _, err = call("step", run)
    assert code == 2 and "all 2 datasets are learnt" in err


def test_a_run_without_measurements_is_repaired_too(finished_runs, replay, call):
    whole = results(finished_runs["random_replay"])
    for place in ("steps/00/pruning", "steps/00/selection", "steps/01/model", "pool/01-two"):
        damage(replay / place)
    assert len(api.verify(replay, repair=True).removed) == 4
    goes_on(replay, call)
    assert results(replay) == whole and api.verify(replay).is_whole


def test_arrays_that_were_dropped_are_not_measured_again_unasked(run, call):
    whole = results(run)
    damage(run / "steps/00/pruning")
    found = api.verify(run, repair=True)
    (one,) = found.damaged
    assert found.removed == () and one.folder is None
    assert "extraction.keep: last has removed the arrays" in one.way_out and "Without it, " in one.way_out
    for name in ("features", "pruning"):
        shutil.rmtree(run / "steps/00" / name)
    goes_on(run, call)
    made = results(run)
    sums = f"steps/00/features/{checksums.CHECKSUMS}"
    assert [name for name in whole if name != sums and made.get(name) != whole[name]] == []
    assert api.verify(run).is_whole


def test_a_dataset_whose_file_has_changed_is_not_removed(run):
    config = Run.open(run).config
    path = Path(config.stream[0].path)
    before = path.read_text()
    try:
        path.write_text(before.replace("Colour of", "Color of"))
        damage(run / "pool/00-one")
        found = api.verify(run, repair=True)
    finally:
        path.write_text(before)
    (one,) = found.damaged
    assert found.removed == () and (run / "pool/00-one").exists()
    assert "gives other rows now" in one.way_out and one.way_out.startswith("bring back a copy")


def test_what_another_base_model_or_other_tests_would_make_otherwise_is_not_removed(run, tmp_path):
    config = Run.open(run).config
    shutil.copytree(config.model.path, tmp_path / "base")
    shutil.copy(config.evaluation[0].path, tmp_path / "tests.json")
    text = (run / "config.yaml").read_text().replace(config.model.path, str(tmp_path / "base"))
    (run / "config.yaml").write_text(text.replace(config.evaluation[0].path, str(tmp_path / "tests.json")))
    for stage in ("selection", "evaluation", "model"):
        damage(run / "steps/01" / stage)
    assert all(one.folder is not None for one in api.verify(run).damaged)
    tests = json.loads((tmp_path / "tests.json").read_text())
    (tmp_path / "tests.json").write_text(json.dumps(tests[:-1]))
    ways_out = {one.folder: one.way_out for one in api.verify(run).damaged}
    assert set(ways_out) == {None, run / "steps/01/selection", run / "steps/01/model"}
    assert "tests.json holds other items than were tested before" in ways_out[None]
    with open(tmp_path / "base/chat_template.jinja", "a") as file:
        file.write(" ")
    found = api.verify(run, repair=True)
    assert found.removed == (run / "steps/01/selection",) and (run / "steps/01/model").exists()
    text = next(one.way_out for one in found.damaged if "model" in one.path.parts)
    assert "is another model than in the steps before: chat_template.jinja differs" in text


def test_a_folder_that_is_gone_has_nothing_to_compare_with(run, call):
    shutil.rmtree(run / "steps/01/clusters")
    (one,) = api.verify(run).damaged
    assert one.way_out.endswith("which makes it again")
    assert "as before" not in goes_on(run, call)


def test_a_dataset_that_is_gone_is_not_replaced_by_other_rows(run, call):
    shutil.rmtree(run / "pool/00-one")
    path = Path(Run.open(run).config.stream[0].path)
    before = path.read_text()
    try:
        path.write_text(before.replace("Colour of", "Color of"))
        code, _, err = call("run", run / "config.yaml", "--out", run)
    finally:
        path.write_text(before)
    assert code == 2 and "gives other rows (content " in err and not (run / "pool/00-one").exists()
    goes_on(run, call)
    assert api.verify(run).is_whole


def test_weights_that_are_whole_are_not_removed_for_a_damaged_log(run):
    path = run / "steps/01/model/trainer_log.json"
    path.write_bytes(path.read_bytes().replace(b"loss", b"lost", 1))
    found = api.verify(run, repair=True)
    (one,) = found.damaged
    assert found.removed == () and "the weights are whole" in one.loses and one.folder is None


def test_a_chain_of_damage_is_made_again_from_its_beginning(finished_runs, run, call):
    for stage in STAGES[1:]:
        damage(run / "steps/01" / stage)
    assert len(api.verify(run, repair=True).removed) == 6
    goes_on(run, call)
    assert results(run) == results(finished_runs["adapt_plus"])


def test_nothing_is_made_again_where_the_pool_or_the_settings_are_not_known(run):
    damage(run / "steps/01/clusters")
    (run / "pool/restored.jsonl").write_text("{nonsense\n")
    found = api.verify(run, repair=True)
    assert found.removed == () and named(found) == {"pool/restored.jsonl", "steps/01/clusters/centers.npy"}
    (run / "pool/restored.jsonl").unlink()
    text = (run / "steps/config.yaml").read_text()
    (run / "steps/config.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    found = api.verify(run, repair=True)
    assert found.removed == () and len(found.damaged) == 2


def test_what_differs_from_before_is_said(run, call):
    place = run / "steps/01/clusters"
    (place / "info.json").write_text(json.dumps({"rows": 1}))
    store_of = checksums.load(place)
    api.verify(run, repair=True)
    former = place.with_name(place.name + FORMER)
    assert checksums.read(former) == store_of
    # As on another machine: what was there before has other checksums.
    other = {name: sums._replace(blocks=("0" * 16,)) for name, sums in store_of.files.items() if name == "centers.npy"}
    changed = checksums.Checksums(files={**store_of.files, **other})
    former.write_text(changed.text())
    err = goes_on(run, call)
    assert f"warning: {place} was made again, and 1 file differ from before (centers.npy)" in err
    assert api.verify(run).made_again == {place: ("centers.npy",)}
    code, out, _ = call("verify", run)
    assert code == 0 and f"made again after damage: {place}: not as before: centers.npy" in out


def test_a_kill_before_the_comparison_is_made_up_for(run, call):
    damage(run / "steps/01/selection")
    api.verify(run, repair=True)
    goes_on(run, call)
    # As if the process had died between the two: the former checksums are still there.
    shutil.copy(run / "steps/01/selection" / checksums.CHECKSUMS, run / f"steps/01/selection{FORMER}")
    goes_on(run, call)
    assert len(events(run)) == 2 and not list(run.rglob(f"*{FORMER}"))


def test_former_checksums_beside_a_dataset_are_no_dataset(run):
    damage(run / "pool/01-two")
    api.verify(run, repair=True)
    assert (run / f"pool/01-two{FORMER}").exists()
    assert len(Run.open(run).pool(1).datasets) == 1


def test_a_dataset_whose_images_have_moved_says_where_they_must_be_for_its_repair(run):
    config = Run.open(run).config
    images = Path(config.stream[0].images)
    shutil.copytree(images, run.parent / "moved")
    text = (run / "config.yaml").read_text()
    api.relocate(run, images, run.parent / "moved")
    (run / "config.yaml").write_text(text.replace(f"images: {images}", f"images: {run.parent / 'moved'}"))
    damage(run / "pool/00-one")
    found = api.verify(run, repair=True)
    (one,) = found.damaged
    assert found.removed == () and f"images that were in {images} when it arrived must be there again" in one.way_out
    (run / "config.yaml").write_text(text)
    assert api.verify(run, repair=True).removed == (run / "pool/00-one",)
