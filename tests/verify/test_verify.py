"""adaptinf verify: every file of a finished run, damaged in every way, is found and named."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from adaptinf import api
from adaptinf.errors import ConfigError
from adaptinf.pipeline.mapping import is_installed
from adaptinf.runs import Run
from adaptinf.storage import checksums, lock, sealed_text, store
from adaptinf.verify import verify
from tests.verify.conftest import METHODS, named

UNCHECKED = {".lock", ".heartbeat.json", "report.html", "config.yaml"}
"""Files whose every bit cannot be checked: made again at any time, or edited by users."""


def files_of(run: Path) -> list[str]:
    found = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    return [name for name in found if name not in UNCHECKED]


def column(path: Path, name: str) -> list[str]:
    return pq.read_table(path)[name].to_pylist()


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_run_is_whole(finished_runs, method, call):
    code, out, _ = call("verify", finished_runs[method])
    assert code == 0
    assert out.splitlines()[-1].startswith("whole: ") and " bytes checked in " in out
    found = api.verify(finished_runs[method])
    assert found.is_whole and not found.unlisted and not found.unchecked and not found.adopted
    assert found.num_files >= len(files_of(finished_runs[method])) - 2 * found.num_folders
    num_maps = 2 * is_installed()
    assert found.num_folders == {"adapt_plus": 17 + num_maps, "random_replay": 13}[method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_file_is_found(finished_runs, method, rounds, tmp_path):
    """One bit of every file at a time; in a folder whose checksums are flipped, the other files cannot be judged."""
    shutil.copytree(finished_runs[method], tmp_path / "run")
    run, rng = tmp_path / "run", random.Random(rounds)
    api.restore(run, column(run / "steps/01/pruning/pruned.parquet", "id")[0])
    api.withdraw(run, "one")
    names = files_of(run)
    assert {"pool/restored.jsonl", "pool/withdrawn.jsonl", "steps/base.json", "trial.json"} <= set(names)
    sums = {name for name in names if name.endswith(checksums.CHECKSUMS)}
    whole = {name: (run / name).read_bytes() for name in names}
    for flipped in (set(names) - sums, sums):
        for _ in range(rounds):
            flipped = {name for name in flipped if whole[name]}
            for name in flipped:
                flip(run / name, rng)
            assert named(api.verify(run)) == flipped
            for name in flipped:
                (run / name).write_bytes(whole[name])
    assert api.verify(run).is_whole


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("damage", ["deleted", "cut", "emptied", "longer"])
def test_a_file_that_is_deleted_cut_or_emptied_is_found(finished_runs, method, damage, tmp_path):
    shutil.copytree(finished_runs[method], tmp_path / "run")
    run = tmp_path / "run"
    optional = {"pool/restored.jsonl", "pool/withdrawn.jsonl"}
    for name in sorted({*files_of(run), "config.yaml"} - optional):
        path = run / name
        whole = path.read_bytes()
        if damage == "longer" and (path.suffix in (".jsonl", ".yaml") and "/" not in name):
            continue
        if not whole and damage != "deleted":
            continue
        content = {"cut": whole[: len(whole) // 2], "emptied": b"", "longer": whole + b"\0", "deleted": None}[damage]
        path.unlink() if content is None else path.write_bytes(content)
        if name == "trial.json" and damage == "deleted":
            assert api.verify(run).is_whole, "it is made again by the next run"
        elif name != "config.yaml" or damage in ("deleted", "emptied"):
            assert named(api.verify(run)) == {name}, name
        path.write_bytes(whole)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a run folder"):
        api.verify(tmp_path)


def test_each_damaged_file_is_named_with_its_loss_and_the_way_out_and_the_count_is_last(run, call):
    flip(run / "steps/01/features/scores.parquet", random.Random(0))
    shutil.rmtree(run / "steps/00/clusters")
    code, out, _ = call("verify", run)
    lines = out.splitlines()
    assert code == 2
    assert lines[0] == f"{run}/steps/01/features/scores.parquet is damaged: its checksum differs"
    assert lines[1] == "  loses: scores and vectors that step 1 selected by, which explain and the report show"
    again = f"adaptinf run {run}/config.yaml --out {run}"
    assert lines[2].startswith(f"  to do: adaptinf verify {run} --repair, then {again}, which makes ")
    assert f"{run}/steps/00/clusters is missing" in out
    assert lines[-1].startswith("2 damaged of ") and lines[-1].endswith(" files")
    code, out, _ = call("verify", run, "--json")
    found = json.loads(out)
    assert code == 2 and not found["whole"] and len(found["damaged"]) == 2
    assert set(found["damaged"][0]) == {"path", "what", "loses", "way_out", "made_again_with"}


@pytest.mark.parametrize("lost", ["steps/01", "steps/01/pruning", "steps/01/evaluation"])
def test_a_step_or_stage_that_had_ended_is_missed_until_it_has_begun_again(run, lost):
    shutil.rmtree(run / lost)
    (one,) = api.verify(run).damaged
    assert one.path == run / lost and "is missing" in one.what
    store.append_line(run / "events.jsonl", {"step": 1, "stage": "check", "event": "begin"})
    assert named(api.verify(run)) == ({lost} if lost == "steps/01/evaluation" else set()), "pruning is there no more"


def test_a_foreign_file_is_unlisted_but_beside_weights_it_is_damage(run, call):
    (run / "steps/00/clusters/notes.txt").write_text("mine")
    (run / "steps/00/mine").mkdir()
    code, out, _ = call("verify", run)
    assert code == 0 and f"{run}/steps/00/clusters/notes.txt: unlisted" in out and f"{run}/steps/00/mine: unl" in out
    (run / "steps/00/model/chat_template.jinja").write_text("{{ messages }}")
    found = api.verify(run)
    assert named(found) == {"steps/00/model/chat_template.jinja"}
    assert (run / "steps/00/clusters/notes.txt").exists()


def test_settings_that_differ_from_those_of_the_steps_are_named(run):
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.002"))
    (one,) = api.verify(run).damaged
    assert one.path == run / "config.yaml" and "training.learning_rate=0.001" in one.what
    for changed in (text.replace("executor: local", "executor: processes"), text + "\n# mine\n"):
        (run / "config.yaml").write_text(changed)
        assert api.verify(run).is_whole, "executors and comments may differ"
    first = Run.open(run).config.stream[0].path
    elsewhere = shutil.copy(first, run.parent / "moved.json")
    (run / "config.yaml").write_text(text.replace(first, first + "x", 1))
    (one,) = api.verify(run).damaged
    assert "stream.0.path=" in one.what and "where nothing is" in one.what
    (run / "config.yaml").write_text(text.replace(first, str(elsewhere), 1))
    assert api.verify(run).is_whole, "a file may have moved"
    (run / "config.yaml").write_text("model: [\n")
    (one,) = api.verify(run).damaged
    assert one.path == run / "config.yaml" and "cannot be used" in one.what


def test_pinned_settings_without_a_checksum_count_as_unchecked_until_they_are_adopted(run):
    path = run / "steps/config.yaml"
    path.write_text(path.read_text().partition("\n")[2])
    found = api.verify(run)
    assert found.is_whole and found.unchecked == (path,)
    assert api.verify(run, adopt=True).unchecked == ()
    assert sealed_text.is_whole(path.read_bytes())
    path.write_bytes(path.read_bytes().replace(b"seed: 3", b"seed: 4"))
    assert named(api.verify(run)) == {"steps/config.yaml"}


def test_nothing_is_written_without_being_asked(run):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    folders = {path: path.stat().st_mtime_ns for path in (run, *run.rglob("*")) if path.is_dir()}
    flip(run / "pool/00-one/info.json", random.Random(1))
    before.pop(run / "pool/00-one/info.json")
    api.verify(run)
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before}
    assert folders == {path: path.stat().st_mtime_ns for path in folders}


def test_a_run_may_hold_its_lock_but_not_while_something_is_repaired(run, call):
    with lock.held(run):
        assert api.verify(run).is_whole
        code, _, err = call("verify", run, "--repair")
        assert code == 2 and "is in use by process" in err


def test_a_line_that_is_being_written_and_unfinished_folders_are_no_damage(run, monkeypatch):
    from adaptinf.verify import logs

    whole = (run / "events.jsonl").read_bytes()
    (run / "events.jsonl").write_bytes(whole[:-20])
    monkeypatch.setattr(logs.time, "sleep", lambda _: (run / "events.jsonl").write_bytes(whole))
    (run / "pool/02-three.part").mkdir()
    (run / "steps/01/model.part").mkdir()
    assert api.verify(run).is_whole


def test_what_vanishes_while_it_is_read_is_no_damage(run, monkeypatch):
    from adaptinf.verify import reading

    real, gone = reading.inspect, []

    def vanishing(folder, **options):
        if folder.name == "clusters" and not gone:
            gone.append(folder)
            found = real(folder, **options)
            shutil.rmtree(folder)
            return real(folder, **options) if not found.problems else found
        return real(folder, **options)

    monkeypatch.setattr(reading, "inspect", vanishing)
    found = api.verify(run)
    assert gone and [(one.path, one.what) for one in found.damaged] == [(gone[0], "is missing")]


def test_links_are_followed_and_said(run, tmp_path, call):
    shutil.move(run / "steps/00/model", tmp_path / "elsewhere")
    (run / "steps/00/model").symlink_to(tmp_path / "elsewhere")
    code, out, _ = call("verify", run)
    assert code == 0 and f"{run}/steps/00/model -> {tmp_path}/elsewhere: a link" in out
    flip(tmp_path / "elsewhere/adapter_model.safetensors", random.Random(0))
    assert named(api.verify(run)) == {"steps/00/model/adapter_model.safetensors"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_damage_with_its_reason(run):
    (run / "steps/00/clusters/centers.npy").chmod(0)
    (one,) = api.verify(run).damaged
    assert "cannot be read (Permission denied)" in one.what


def test_what_is_no_ordinary_file_is_damage_and_not_waited_for(run):
    exported = api.export(run, step=1).folder.relative_to(run).as_posix()
    names = {"steps/00/clusters/centers.npy", "metrics.jsonl", f"{exported}/ids.txt", "trial.json"}
    for name in names:
        (run / name).unlink()
        os.mkfifo(run / name)
    found = api.verify(run)
    assert named(found) == names
    assert all("no ordinary file" in one.what for one in found.damaged)


def test_a_stage_that_was_killed_before_its_folder_had_its_name_is_no_damage(run):
    shutil.rmtree(run / "steps/01/pruning")
    (run / "steps/01/evaluation").rename(run / "steps/01/evaluation.part")
    assert api.verify(run).is_whole is False, "pruning had ended as well"
    (run / "steps/01/pruning.part").mkdir()
    assert api.verify(run).is_whole


def test_exports_are_checked_by_their_manifest(run):
    made = api.export(run, step=1, format="llava")
    assert api.verify(run).is_whole
    flip(made.folder / "ids.txt", random.Random(0))
    (one,) = api.verify(run).damaged
    assert one.path == made.folder / "ids.txt" and "repeat its adaptinf export" in one.way_out
    (made.folder / "manifest.json").unlink()
    (one,) = api.verify(run).damaged
    assert one.path == made.folder / "manifest.json" and one.what == "is missing"


def test_checksums_alone_that_are_damaged_are_no_reason_to_remove_a_folder(run):
    path = run / "steps/00/model" / checksums.CHECKSUMS
    flip(path, random.Random(3))
    found = api.verify(run, repair=True)
    (one,) = found.damaged
    assert found.removed == () and one.path == path and "--adopt" in one.way_out
    adopted = api.verify(run, adopt=True)
    assert adopted.is_whole and list(adopted.adopted) == [run / "steps/00/model"]
    again = api.verify(run)
    assert again.is_whole and len(again.adopted) == 1


def test_damaged_files_of_a_folder_are_not_adopted(run):
    folder = run / "steps/01/clusters"
    (folder / checksums.CHECKSUMS).unlink()
    (folder / "assignments.parquet").write_bytes(b"PAR1")
    found = api.verify(run, adopt=True)
    assert not found.is_whole and not (folder / checksums.CHECKSUMS).exists()
    (one,) = found.damaged
    assert one.folder == folder and one.what.startswith("cannot be loaded") and "--repair" in one.way_out


@pytest.mark.parametrize("way", ["missing", "damaged"])
def test_a_folder_that_cannot_be_loaded_is_repaired_without_its_checksums_too(run, way, call):
    folder = run / "steps/01/clusters"
    (folder / "assignments.parquet").write_bytes(b"PAR1")
    if way == "missing":
        (folder / checksums.CHECKSUMS).unlink()
    else:
        (folder / checksums.CHECKSUMS).write_bytes(b"{")
    (one,) = api.verify(run).damaged
    assert "every byte" not in one.way_out
    assert api.verify(run, repair=True).removed == (folder,)
    code, _, err = call("run", run / "config.yaml", "--out", run)
    assert code == 0 and "every byte is as before" not in err
    assert api.verify(run).is_whole


def test_plugin_files_that_are_gone_do_not_stop_the_check(run):
    opened = Run.open(run)
    assert verify(opened).is_whole


def test_any_flipped_bit_of_an_exports_manifest_is_found(run):
    manifest = api.export(run, step=1, format="llava").folder / "manifest.json"
    content, rng = manifest.read_bytes(), random.Random(0)
    assert api.verify(run).is_whole
    for _ in range(30):
        manifest.write_bytes(content)
        flip(manifest, rng)
        (one,) = verify(Run.open(run)).damaged
        assert one.path == manifest and "repeat its adaptinf export" in one.way_out
