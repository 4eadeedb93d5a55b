"""A dataset whose file cannot be read to its end is refused, unless its readable rows are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptinf import config as configuration
from adaptinf.errors import DataError
from adaptinf.evaluation.skills import read_tests
from adaptinf.pool import stored_datasets
from adaptinf.runs import Run, stream

ROWS = [{"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": str(n)}]} for n in range(4)]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(ROWS, indent=1)[:-60])
    return path


def new_run(folder: Path, **dataset: Any) -> Run:
    (folder / "s.yaml").write_text(json.dumps({"model": {"path": "x"}, "stream": [{"name": "d", **dataset}]}))
    return Run.create(folder / "run", configuration.load(folder / "s.yaml"))


def test_a_broken_file_is_refused_with_its_rows_the_place_and_the_way_out(tmp_path: Path, broken: Path) -> None:
    run = new_run(tmp_path, path=str(broken))
    with pytest.raises(
        DataError, match=r"broken.json cannot be read to its end: 3 rows read, then broken JSON at line"
    ):
        stream.join(run, 0)
    with pytest.raises(DataError, match="allow_broken: true"):
        stream.join(run, 0)
    assert stored_datasets(run.pool_folder) == []


def test_the_rows_before_the_break_are_kept_where_that_is_asked_for(tmp_path: Path, broken: Path) -> None:
    run = new_run(tmp_path, path=str(broken), allow_broken=True)
    info = stream.join(run, 0)
    assert (info["rows"], info["rejected"]) == (3, 1)
    (rejected,) = map(json.loads, (run.dataset_folder(0) / "rejected.jsonl").read_text().splitlines())
    assert rejected["ends_file"] and "broken JSON at line" in rejected["reason"]


def test_add_takes_the_option(tmp_path: Path, broken: Path, call: Any) -> None:
    run = Run.create(tmp_path / "run", configuration.from_overrides({"model.path": "x"}, base=tmp_path))
    code, _, err = call("add", run.folder, broken)
    assert code == 2 and "adaptinf add --allow-broken" in err
    code, out, _ = call("add", run.folder, broken, "--allow-broken", "--quiet")
    assert code == 0 and "broken: 3 samples added, 1 rejected" in out


def test_a_broken_test_file_is_refused(tmp_path: Path, broken: Path) -> None:
    skill = configuration.from_overrides(
        {"model.path": "x", "evaluation": [{"skill": "s", "path": str(broken)}]}, base=tmp_path
    ).evaluation
    with pytest.raises(DataError, match="evaluation of s: .*cannot be read to its end: 3 rows read"):
        read_tests(skill)


def test_keys_that_nothing_reads_are_counted_when_a_dataset_joins(tmp_path: Path) -> None:
    rows = [{**row, "height": number} for number, row in enumerate(ROWS)]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    assert stream.join(new_run(tmp_path, path=str(tmp_path / "d.json")), 0)["unread"] == {"height": 4}


def test_deep_and_too_large_images_are_noted_and_counted_when_a_dataset_joins(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "large.png")
    rows = [{**row, "image": image} for row, image in zip(ROWS, ("deep.png", "deep.png", "large.png"), strict=False)]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    run = new_run(tmp_path, path=str(tmp_path / "d.json"))
    changed = run.config.model_copy(update={"data": run.config.data.model_copy(update={"max_pixels": 1000})})
    info = stream.join(Run.create(tmp_path / "small", changed), 0)
    assert (info["rows"], info["rejected"], info["scalings"], info["reduced"]) == (2, 1, {"12 bits in 16": 2}, 0)


def test_a_jpeg_that_is_decoded_smaller_is_noted_counted_and_the_same_for_every_use(tmp_path: Path, call: Any) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "large.jpg")
    (tmp_path / "d.json").write_text(json.dumps([{**ROWS[0], "image": "large.jpg"}]))
    config = new_run(tmp_path, path=str(tmp_path / "d.json")).config
    run = Run.create(tmp_path / "small", config.model_copy(update={"data": configuration.DataConfig(max_pixels=1000)}))
    assert stream.join(run, 0)["reduced"] == 1
    folder = run.dataset_folder(0)
    *_, note = json.loads((folder / "repaired.jsonl").read_text())["notes"]
    assert note == "image 'large.jpg' of 40 x 40 pixels is decoded at 1/2 of its width and height"
    sample = stored_datasets(run.pool_folder)[0].sample(0)
    assert sample.reductions == (2,)
    assert [image.size() for image in sample.stored_images] == [image.open().size for image in sample.stored_images]
    assert sample.stored_images[0].open().size == (20, 20)
    code, out, _ = call("validate", tmp_path / "d.json", "--max-pixels", "1000")
    assert code == 0 and "is decoded at N/N of its width and height" in " ".join(out.split())
