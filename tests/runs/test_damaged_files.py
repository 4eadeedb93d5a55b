"""A flipped bit in a file of a run: each command says which file, or its result is the one without it."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Evaluation, Features
from adaptinf.errors import StoreError
from adaptinf.pipeline import run_all, run_step
from adaptinf.runs import Run
from adaptinf.storage.checksums import CHECKSUMS
from tests.helpers.run_folders import content, unseal
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.heavy]

NEEDED = (
    "pool/00-one/data-00000-of-00001.arrow",
    "steps/00/model/adapter_model.safetensors",
    "steps/00/model/adapter_config.json",
    "steps/00/pruning/pruned.parquet",
    "steps/00/evaluation/matrix.json",
    "steps/00/evaluation/predictions.parquet",
    f"steps/00/model/{CHECKSUMS}",
)
"""Files of a finished step that the next one reads."""
SHOWN = {
    "pool/00-one/data-00000-of-00001.arrow": ("explain", "report"),
    "pool/00-one/info.json": ("status",),
    "steps/00/features/scores.parquet": ("explain", "report", "export"),
    "steps/00/features/info.json": ("explain", "export"),
    "steps/00/clusters/assignments.parquet": ("explain", "report"),
    "steps/00/selection/selection.parquet": ("explain", "report", "export"),
    "steps/00/pruning/info.json": ("status",),
    "steps/00/evaluation/matrix.json": ("status", "report"),
}
"""Files -> commands that read them."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of two steps whose first is finished."""
    folder = tmp_path_factory.mktemp("begun")
    datasets = [write_dataset(folder, name, rows(10, word=name)) for name in ("one", "two")]
    stream = write_stream(folder / "s.yaml", datasets, [write_test(folder, "sums", rows(4))], training={"tune": "lora"})
    run = Run.create(folder / "run", configuration.load(stream))
    run_all(run, num_steps=1)
    return run.folder


@pytest.fixture
def damaged(begun, tmp_path):
    """A copy of that run."""
    shutil.copytree(begun, tmp_path / "run")
    return tmp_path / "run"


def flip(path: Path, seed: int = 0) -> None:
    """Flip one bit of a file; its time stays, as where a disk has done it."""
    state, data = path.stat(), bytearray(path.read_bytes())
    bit = random.Random(f"{path.name} {seed}").randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def change_digit(path: Path) -> None:
    """Turn a digit of a JSON file into another one: it stays JSON with the same keys."""
    text = path.read_text()
    place = next(number for number, letter in enumerate(text) if letter in "12345678")
    path.write_text(text[:place] + str(int(text[place]) + 1) + text[place + 1 :])


@pytest.mark.parametrize("name", NEEDED)
def test_the_next_step_is_refused_with_the_name_of_the_file(damaged, name):
    flip(damaged / name)
    before = content(damaged)
    with pytest.raises(StoreError) as caught:
        run_step(Run.open(damaged), 1)
    assert str(damaged / name) in str(caught.value) and "adaptinf verify" in str(caught.value)
    assert {path: text for path, text in content(damaged).items() if path in before} == before


@pytest.mark.parametrize("array", ["vectors.npy", "embeddings.npy"])
def test_a_flip_in_arrays_is_found_before_the_stages_that_use_them(damaged, array):
    for stage in ("clusters", "selection", "model", "evaluation", "pruning"):
        shutil.rmtree(damaged / "steps" / "00" / stage)
    flip(damaged / "steps" / "00" / "features" / array)
    with pytest.raises(StoreError, match=f"{array} is damaged: its checksum differs"):
        run_step(Run.open(damaged), 0)
    assert not (damaged / "steps" / "00" / "clusters").exists()


@pytest.mark.parametrize("name", SHOWN)
def test_commands_that_show_a_run_name_the_file(call, damaged, tmp_path, name):
    words = {
        "status": ["status", damaged],
        "explain": ["explain", damaged, "one/000"],
        "report": ["report", damaged],
        "export": ["export", damaged, "--step", "0", "--out", tmp_path / "out", "--quiet"],
    }
    flip(damaged / name)
    for command in SHOWN[name]:
        code, _, err = call(*words[command])
        assert code == 2 and str(damaged / name) in err and err.count("\n") == 1, (command, err)
        assert "adaptinf verify" in err


def test_status_opens_no_dataset_and_no_array(call, damaged):
    for path in [*damaged.glob("pool/*/*.arrow"), *damaged.glob("steps/*/*/*.npy")]:
        path.write_bytes(b"damaged")
    code, out, _ = call("status", damaged, "--json")
    assert code == 0 and json.loads(out)["pool"] == 10


def test_a_report_that_cannot_be_written_does_not_take_the_step_back(call, damaged):
    flip(damaged / "steps" / "00" / "clusters" / "assignments.parquet")
    code, _, err = call("step", damaged, "--quiet")
    assert code == 2 and "2 steps finished, and only the report is not written" in err and "assignments.parquet" in err
    assert f"then adaptinf report {damaged}" in err and err.count("\n") == 1
    assert Run.open(damaged).num_finished == 2


def test_without_checks_a_command_goes_on_and_the_run_records_it(call, damaged, tmp_path):
    change_digit(damaged / "steps" / "00" / "evaluation" / "matrix.json")
    flip(damaged / "steps" / "00" / "features" / CHECKSUMS)
    assert call("report", damaged)[0] == 2 and call("explain", damaged, "one/000")[0] == 2
    assert call("report", damaged, "--no-verify")[0] == 0
    assert call("explain", damaged, "one/000", "--no-verify")[0] == 0
    out = tmp_path / "out"
    assert call("export", damaged, "--step", "0", "--out", out, "--no-verify", "--quiet")[0] == 0
    assert json.loads((out / "manifest.json").read_text())["verified"] is False
    events = [json.loads(line) for line in (damaged / "events.jsonl").read_text().splitlines()]
    recorded = [event["command"] for event in events if event.get("event") == "no_verify"]
    assert recorded == ["report", "explain", "export"]


def test_a_step_without_checks_goes_on_and_is_recorded(damaged):
    change_digit(damaged / "steps" / "00" / "evaluation" / "matrix.json")
    with pytest.raises(StoreError, match=r"matrix.json is damaged"):
        api.step(damaged)
    assert api.step(damaged, verify=False).steps == (1,)
    assert '"event": "no_verify", "command": "step"' in (damaged / "events.jsonl").read_text()


def test_a_run_without_checksums_goes_on_as_before(begun, damaged, tmp_path):
    shutil.copytree(begun, tmp_path / "whole")
    unseal(damaged)
    for folder in (damaged, tmp_path / "whole"):
        run_step(Run.open(folder), 1)
    assert content(damaged) == content(tmp_path / "whole")


def test_arrays_that_were_dropped_are_no_damage_and_others_are(damaged):
    run_step(Run.open(damaged), 1)
    first, second = (damaged / "steps" / step / "features" for step in ("00", "01"))
    assert Features.load(first).vectors.shape == (10, 0) and not (first / "vectors.npy").exists()
    (second / "vectors.npy").unlink()
    with pytest.raises(StoreError, match=r"vectors.npy is missing; bring back a copy"):
        Features.load(second)


def test_json_whose_keys_are_others_is_one_sentence_without_checksums(call, damaged):
    unseal(damaged)
    for name, key in {"evaluation/matrix.json": "skills", "pruning/info.json": "kept"}.items():
        path = damaged / "steps" / "00" / name
        text = path.read_text()
        path.write_text(text.replace(f'"{key}"', f'"{key[:-1]}x"'))
        code, _, err = call("status", damaged)
        assert code == 2 and str(path) in err and f"lacks the key '{key}'" in err
        path.write_text(text)
    assert call("status", damaged)[0] == 0


def test_a_matrix_of_another_shape_is_one_sentence_without_checksums(damaged):
    unseal(damaged)
    path = damaged / "steps" / "00" / "evaluation" / Evaluation.MATRIX
    for key, value in {"scores": [[1.0, 2.0], [3.0]], "num_items": [1, 2, 3], "introduced_at": ["x"]}.items():
        saved = json.loads(path.read_text())
        path.write_text(json.dumps({**saved, key: value}))
        with pytest.raises(StoreError, match=r"matrix.json is not what was written there"):
            Evaluation.load(path.parent)
        path.write_text(json.dumps(saved))


@pytest.mark.slow
def test_every_file_of_the_run_is_refused_or_does_not_matter(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "whole")
    run_step(Run.open(tmp_path / "whole"), 1)
    expected = {name: text for name, text in content(tmp_path / "whole").items() if name.startswith("steps/01/")}
    files = [path.relative_to(begun).as_posix() for path in sorted(begun.rglob("*")) if path.is_file()]
    names = [name for name in files if name.startswith(("steps/0", "pool/", "base/"))]
    for number, name in enumerate(name for name in names if (begun / name).stat().st_size):
        copy = tmp_path / str(number)
        shutil.copytree(begun, copy)
        flip(copy / name, number)
        try:
            run_step(Run.open(copy), 1)
        except StoreError as error:
            assert str(copy / name) in str(error)
        else:
            found = {path: text for path, text in content(copy).items() if path.startswith("steps/01/")}
            assert found == expected, name
        shutil.rmtree(copy)


def test_add_to_a_damaged_pool_changes_nothing(damaged, tmp_path):
    flip(damaged / "pool/00-one/data-00000-of-00001.arrow")
    third = write_dataset(tmp_path, "three", rows(4))
    before = content(damaged)
    with pytest.raises(StoreError, match=r"00-one/data.* is damaged"):
        api.add(damaged, third["path"])
    assert content(damaged) == before
