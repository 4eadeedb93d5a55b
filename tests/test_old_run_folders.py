"""A run folder that version 0.1 made opens, goes on and tells everything; `fixtures/make_run_folder.py` made it.

Two steps are finished, and the third one was killed as its training began.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from adaptinf.formats import read
from adaptinf.pipeline import Run
from tests.helpers.conversations import BASE_PATH
from tests.helpers.report_page import Page

FIXTURE = Path(__file__).parent / "fixtures" / "run_folder_v0_1"
FORMER_NAME = "mended"
"""What version 0.1 called repaired rows: a file and a key of the pool."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the run folder, with the data and the model where they lie now."""
    folder = tmp_path / "old"
    shutil.copytree(FIXTURE, folder)
    places = {"@DATA@": folder / "data", "@RUN@": folder / "run", "@MODEL@": BASE_PATH}
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml"):
            text = path.read_text(encoding="utf-8")
            for name, place in places.items():
                text = text.replace(name, str(place))
            path.write_text(text, encoding="utf-8")
    return folder / "run"


@pytest.fixture
def asked(call):
    """Return a function that runs a command which must succeed, and gives what it printed as JSON."""

    def run(*words):
        code, out, err = call(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def done(call):
    """Return a function that runs a command which must succeed, and gives what it printed."""

    def run(*words):
        code, out, err = call(*words)
        assert code == 0, err
        return out

    return run


def column(path: Path, name: str) -> list[str]:
    return pq.read_table(path)[name].to_pylist()


def test_the_fixture_is_of_the_old_version_and_has_what_this_version_writes_otherwise():
    pool = FIXTURE / "run" / "pool" / "00-first"
    assert (pool / f"{FORMER_NAME}.jsonl").read_text() and json.loads((pool / "info.json").read_text())[
        FORMER_NAME
    ] == 2
    assert "vector: auto" in (FIXTURE / "run" / "steps" / "config.yaml").read_text()
    assert not (FIXTURE / "run" / "steps" / "02" / "model").exists()


def test_status_counts_its_steps_rows_and_pool(old, asked, done):
    found = asked("status", old)
    assert (found["steps_finished"], found["steps_waiting"], found["pool"], found["cap"]) == (2, 1, 30, 16)
    assert [(step["dataset"], step["rows"], step["rejected"]) for step in found["steps"]] == [
        ("first", 14, 2), ("second", 12, 0), ("third", 14, 2),
    ]  # fmt: skip
    assert found["steps"][2]["done"] == ["features", "clusters", "selection"]
    assert "third" in done("status", old)


def test_verify_cannot_check_it_until_its_folders_are_adopted(old, done, call):
    *_, unknown, verdict = done("verify", old).splitlines()
    assert unknown.startswith("20 artifacts cannot be checked") and verdict.startswith("whole: 0 folders, ")
    *_, since, verdict = done("verify", old, "--adopt").splitlines()
    assert since.startswith("19 folders adopted on ") and verdict.startswith("whole: 19 folders, ")
    path = old / "steps" / "01" / "features" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    code, out, _ = call("verify", old)
    assert code == 2 and f"{path} is damaged" in out and out.splitlines()[-1].startswith("1 damaged of ")


def test_verify_names_what_cannot_even_be_loaded(old, call):
    path = old / "steps" / "00" / "clusters" / "assignments.parquet"
    path.write_bytes(path.read_bytes()[:100])
    code, out, _ = call("verify", old, "--adopt")
    assert code == 2 and f"{path.parent} cannot be loaded" in out and str(path) in out
    assert not (path.parent / "checksums.json").exists()


def test_the_report_is_written(old, done):
    done("report", old)
    page = Page(old / "report.html")
    [row] = page.rows("table")
    assert (row["run"], row["steps"], row["samples_trained"]) == ("adapt", 2, 8)
    assert all(name in page.text for name in ("first", "second", "third", "10 of 40 samples"))
    assert page.data["images"], "images that the pool holds are shown"


def test_explain_knows_repairs_rejections_and_pruning(old, asked, done):
    assert "000~2" in asked("explain", old, "first/000~2")["notes"][0]
    assert "gone.png" in asked("explain", old, "first/gone")["notes"][0]
    [id, neighbour] = [column(old / "steps/01/pruning/pruned.parquet", name)[0] for name in ("id", "neighbour")]
    found = asked("explain", old, id)
    [episode] = [episode for episode in found["steps"] if episode["step"] == 1]
    assert episode["pruned"]["neighbour"] == neighbour
    assert set(episode["scores"]) == {"el2n", "entropy", "grand", "image_grounding", "perplexity"}
    assert neighbour in done("explain", old, id)


@pytest.mark.parametrize("options", [(), ("--merge",)])
def test_its_model_is_exported_with_what_was_recorded_then(options, old, asked, tmp_path):
    found = asked("export-model", old, "--out", tmp_path / "model", *options)
    assert (found["step"], found["form"]) == (1, "merged" if options else "adapter")
    assert found["same_tokens"] and found["moved"] < 0.01
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| method | adapt |" in card and "| 1 | second | local files | 12 | 0 |" in card
    assert "trained with | adaptinf 0.1.0" in card and str(old.parent) not in card


@pytest.mark.parametrize(("format", "images"), [("llava", "reference"), ("messages", "copy")])
def test_export_writes_the_selected_samples_with_their_images(format, images, old, asked, tmp_path):
    out = tmp_path / "exported"
    manifest = asked("export", old, "--step", 1, "--format", format, "--images", images, "--out", out)
    ids = column(old / "steps" / "01" / "selection" / "selection.parquet", "id")
    assert manifest["samples"] == len(ids) == 4
    assert (out / "ids.txt").read_text().split() == ids
    data = next(path for path in out.iterdir() if path.stem == "data")
    samples = list(read(data, format, old if images == "reference" else out))
    assert [sample.id.removeprefix("data/") for sample in samples] == ids
    pool = Run.open(old).pool(1)
    assert [sample.messages for sample in samples] == [sample.messages for sample in pool.view(ids)]
    assert all(path.is_file() for sample in samples for path in sample.images)


def test_a_killed_step_is_finished_as_the_old_version_finishes_it(old, asked, done):
    before = {path: path.stat().st_mtime_ns for path in (old / "steps").rglob("*.parquet")}
    done("step", old, "--quiet")
    assert asked("status", old)["steps_finished"] == 3
    assert before == {path: path.stat().st_mtime_ns for path in before}, "finished stages were made again"

    expected, step = FIXTURE / "expected", old / "steps" / "02"
    log, wanted = (json.loads((path / "trainer_log.json").read_text()) for path in (step / "model", expected))
    assert [line["loss"] for line in log] == pytest.approx([line["loss"] for line in wanted], rel=1e-3)
    made = [column(path / "pruned.parquet", "id") for path in (step / "pruning", expected)]
    assert made[0] == made[1]
    matrices = [json.loads((path / "matrix.json").read_text()) for path in (step / "evaluation", expected)]
    assert matrices[0]["scores"][:3] == matrices[1]["scores"][:3] and len(matrices[0]["scores"]) == 4
    # What the old version did not record stays unknown beside what this version adds.
    *former, now = matrices[0]["tolerant"]
    assert all(value is None for row in former for value in row) and None not in now
    assert asked("status", old)["steps"][1]["average_tolerant"] is None
    done("report", old)
    assert "not known, in whole or in part" in Page(old / "report.html").text


def test_corrections_hold_and_the_next_dataset_is_added_and_learnt(old, asked, done):
    pruned = column(old / "steps" / "01" / "pruning" / "pruned.parquet", "id")
    restored = next(id for id in pruned if id.startswith("first/"))
    done("restore", old, restored)
    done("withdraw", old, "second")
    done("step", old, "--quiet")
    done("add", old, old.parent / "data" / "fourth.json", "--images", old.parent / "data" / "images", "--quiet")
    done("step", old, "--quiet")

    assert asked("status", old)["steps_finished"] == 4
    pool = Run.open(old).pool(3)
    assert restored in pool.ids and not [id for id in pool.ids if id.startswith("second/")]
    scores = old / "steps" / "03" / "features" / "scores.parquet"
    assert column(scores, "id") == pool.ids.tolist() and "fourth/000" in pool.ids
    assert len(json.loads((old / "steps" / "03" / "evaluation" / "matrix.json").read_text())["scores"]) == 5
