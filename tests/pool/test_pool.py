"""The pool: added samples are found by id, and prunings and restorations decide which are in it."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from adaptinf.data import Rejected, Sample, SavedPruning
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.formats import read
from adaptinf.pool import Pool, add_dataset, columns, merging, stored_datasets
from adaptinf.pool.stored import FORMER_NAME, StoredDataset, dataset_info, repairs
from adaptinf.storage import tables


def sample(own_id: str, source: str, **others: Any) -> Sample:
    return Sample(
        id=f"{source}/{own_id}",
        source=source,
        messages=(
            {"role": "user", "content": [{"type": "text", "text": f"{own_id}? é 🙂"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
        ),
        **others,
    )


def add(
    pool: Path,
    index: int,
    name: str,
    rows: Iterable[Sample | Rejected],
    images: Literal["reference", "copy"] = "reference",
    on_bad_row: Literal["reject", "stop"] = "reject",
) -> dict[str, Any]:
    final = pool / f"{index:02d}-{name}"
    part = final.with_name(f"{final.name}.part")
    info = add_dataset(
        pool, index, name, rows, images=images, on_bad_row=on_bad_row, part=part, origin={"path": "toy.json"}
    )
    part.rename(final)
    return info


def prune(steps: Path, step: int, ids: list[str]) -> None:
    folder = steps / f"{step:02d}" / "pruning"
    folder.mkdir(parents=True)
    SavedPruning(table={"id": tables.text_array(ids)}, num_kept=0).save(folder)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A pool of dataset 0 `first` (c, a, b; skills x, y, none) and dataset 1 `second` (b, a; skills y, z)."""
    pool = tmp_path / "pool"
    skills: list[dict[str, Any]] = [{"skill": "x"}, {"skill": "y"}, {"other": [1, None]}]
    first = [sample(own_id, "first", meta=meta) for own_id, meta in zip("cab", skills, strict=True)]
    add(pool, 0, "first", first)
    add(pool, 1, "second", [sample("b", "second", meta={"skill": "y"}), sample("a", "second", meta={"skill": "z"})])
    return pool


def test_samples_come_back_as_they_were_in_id_order(two: Path, tmp_path: Path) -> None:
    pool = Pool.open(two, tmp_path / "steps")
    assert len(pool) == 5
    assert pool.ids.tolist() == ["first/a", "first/b", "first/c", "second/a", "second/b"]
    assert pool.arrived.tolist() == [0, 0, 0, 1, 1]
    assert pool.skills.tolist() == ["y", "", "x", "z", "y"]
    assert pool.sources.tolist() == ["first"] * 3 + ["second"] * 2
    assert pool.view(["first/b"])[0] == sample("b", "first", meta={"other": [1, None]})
    wanted = ["second/a", "first/c", "second/a"]
    assert [item.id for item in pool.view(wanted)] == wanted


def test_a_view_reads_any_sample_in_any_order(two: Path, tmp_path: Path) -> None:
    pool = Pool.open(two, tmp_path / "steps")
    view = pool.view(pool.ids[::-1])
    assert len(view) == 5
    assert [view[index].id for index in (0, -1, 2)] == ["second/b", "first/a", "first/c"]
    assert [item.id for item in view[1:3]] == ["second/a", "first/c"]
    assert [item.id for item in view] == pool.ids[::-1].tolist()
    with pytest.raises(IndexError):
        view[5]
    copied = pickle.loads(pickle.dumps(view))
    assert list(copied) == list(view)
    assert len(pickle.dumps(view)) < 2000, "a view travels as paths, not as data"


def test_ids_of_a_view_are_known_without_reading_its_samples(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool.open(two, tmp_path / "steps")
    monkeypatch.setattr(StoredDataset, "sample", lambda *_: pytest.fail("a sample was read"))
    wanted = ["second/a", "first/c", "second/a", "first/a"]
    assert pool.view(wanted).ids.tolist() == wanted
    assert pool.view(wanted)[1:3].ids.tolist() == wanted[1:3] and pool.view([]).ids.tolist() == []


def test_pruned_samples_are_not_in_the_pool_until_they_are_restored(two: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    prune(steps, 0, ["first/a", "first/c"])
    prune(steps, 1, ["second/b"])
    assert Pool.open(two, steps).ids.tolist() == ["first/b", "second/a"]
    with pytest.raises(DataError, match="'first/a' is not in the pool"):
        Pool.open(two, steps).view(["first/a"])[0]
    (two / "restored.jsonl").write_text('{"id": "first/c"}\n\n{"id": "unknown"}\n')
    assert Pool.open(two, steps).ids.tolist() == ["first/b", "first/c", "second/a"]


def test_a_step_sees_the_pool_as_it_was(two: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    prune(steps, 0, ["first/a"])
    prune(steps, 1, ["first/b"])
    assert Pool.open(two, steps, until=0).ids.tolist() == ["first/a", "first/b", "first/c"]
    assert Pool.open(two, steps, until=1).ids.tolist() == ["first/b", "first/c", "second/a", "second/b"]


def test_unfinished_folders_do_not_count(two: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    prune(steps, 0, ["first/a"])
    (steps / "00" / "pruning").rename(steps / "00" / "pruning.part")
    (two / "02-third.part").mkdir()
    assert len(Pool.open(two, steps)) == 5
    assert [dataset.name for dataset in stored_datasets(two)] == ["first", "second"]


def test_skills_are_counted_over_all_that_arrived_pruned_or_not(two: Path, tmp_path: Path) -> None:
    prune(tmp_path / "steps", 0, ["first/a"])
    pool = Pool.open(two, tmp_path / "steps")
    assert pool.skill_counts(1) == {"x": 1, "y": 1}
    assert pool.skill_counts(2) == {"x": 1, "y": 2, "z": 1}
    assert pool.first_step_of_skill() == {"x": 0, "y": 0, "z": 1}


@pytest.mark.parametrize("num_rows", [0, 1])
def test_an_empty_dataset_and_a_single_row_are_fine(tmp_path: Path, num_rows: int) -> None:
    pool = tmp_path / "pool"
    assert add(pool, 0, "toy", [sample("a", "toy")][:num_rows])["rows"] == num_rows
    opened = Pool.open(pool, tmp_path / "steps")
    assert opened.ids.tolist() == ["toy/a"][:num_rows]
    assert opened.skills.tolist() == [""] * num_rows
    assert opened.skill_counts(1) == {}
    assert len(opened.view([])) == 0


def test_no_pool_at_all_is_an_empty_pool(tmp_path: Path) -> None:
    assert len(Pool.open(tmp_path / "pool", tmp_path / "steps")) == 0


def test_hugging_face_opens_the_folder(two: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_from_disk(str(two / "00-first"))
    columns = ["id", "messages", "images", "source", "meta", "unlearnt", "tools", "tags", "reductions"]
    assert loaded.column_names == columns
    assert loaded["id"][:] == ["first/c", "first/a", "first/b"]
    assert loaded[2]["meta"] == {"skill": None, "task": None, "extra": '{"other": [1, null]}'}
    assert loaded[0]["messages"] == list(sample("c", "first").messages)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add(tmp_path / name, 0, "toy", [sample("a", "toy", meta={"skill": "x"})])
    for file in (tmp_path / "one" / "00-toy").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / "00-toy" / file.name).read_bytes(), file.name


def test_rejected_and_repaired_rows_are_counted_and_listed(tmp_path: Path) -> None:
    rows = [{"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}], "id": "a"}] * 2
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "toy.json").write_text(json.dumps([*rows, 3, {**rows[0], "id": "b", "image": "a.png"}]))
    pool = tmp_path / "pool"
    info = add(pool, 0, "toy", read(tmp_path / "toy.json"))
    counts = {"rows": 3, "rejected": 1, "repaired": 2, "repeated_ids": 1, "reduced": 0}
    assert {key: info[key] for key in counts} == counts
    assert info == json.loads((pool / "00-toy" / "info.json").read_text())
    assert info["path"] == "toy.json"
    (rejected,) = map(json.loads, (pool / "00-toy" / "rejected.jsonl").read_text().splitlines())
    reason = "row is 3, not an object"
    expected = {"file": str(tmp_path / "toy.json"), "row": 2, "reason": reason, "id": "toy/000002", "ends_file": False}
    assert rejected == expected
    repaired = [json.loads(line)["id"] for line in (pool / "00-toy" / "repaired.jsonl").read_text().splitlines()]
    assert repaired == ["toy/a~2", "toy/b"]


def test_a_folder_with_the_former_name_of_repaired_rows_is_read(tmp_path: Path) -> None:
    rows = [sample("a", "toy", notes=("what was done",)), sample("b", "toy")]
    today = add(tmp_path, 0, "toy", rows)
    folder = tmp_path / "00-toy"
    former = {FORMER_NAME if key == "repaired" else key: value for key, value in today.items()}
    (folder / "info.json").write_text(json.dumps(former))
    (folder / "repaired.jsonl").rename(folder / f"{FORMER_NAME}.jsonl")
    assert dataset_info(folder) == today
    assert (repairs(folder, "toy/a"), repairs(folder, "toy/b")) == (("what was done",), ())


def test_stop_means_stop_at_the_first_bad_row(tmp_path: Path) -> None:
    rows = [sample("a", "toy"), Rejected(file="toy.json", row=1, reason="no assistant turn")]
    with pytest.raises(DataError, match=r"toy.json row 1: no assistant turn; .*on_bad_row"):
        add(tmp_path / "pool", 0, "toy", rows, on_bad_row="stop")
    assert stored_datasets(tmp_path / "pool") == []


def test_a_second_try_in_the_same_unfinished_folder_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    def breaks_off() -> Iterable[Sample]:
        yield from [sample(str(number), "toy") for number in range(5)]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(tmp_path / "pool", 0, "toy", breaks_off())
    add(tmp_path / "pool", 0, "toy", [sample("a", "toy")])
    assert Pool.open(tmp_path / "pool", tmp_path / "steps").ids.tolist() == ["toy/a"]


@pytest.mark.parametrize("name", ["first", "a/b", "", "..", "x.part"])
def test_a_name_in_use_or_unfit_for_a_folder_is_refused(two: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="dataset"):
        add_dataset(two, 2, name, [], images="reference", on_bad_row="reject", part=two / "02.part", origin={})


def test_copied_images_live_in_the_dataset_once_and_survive_a_move(tmp_path: Path) -> None:
    for name, color in (("a.png", "red"), ("same.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (4, 4), color).save(tmp_path / name)
    images = tuple(tmp_path / name for name in ("a.png", "b.png", "same.png", "a.png"))
    contents = {path.read_bytes() for path in images}
    info = add(tmp_path / "pool", 0, "toy", [sample("a", "toy", images=images)], images="copy")
    assert info["bytes_of_pictures"] == sum(map(len, contents))
    for path in set(images):
        path.unlink()
    (tmp_path / "pool").rename(tmp_path / "moved")
    found = Pool.open(tmp_path / "moved", tmp_path / "steps").view(["toy/a"])[0].images
    assert {path.read_bytes() for path in found} == contents
    assert all(path.stem == hashlib.sha256(path.read_bytes()).hexdigest() for path in found)
    assert len(list((tmp_path / "moved" / "00-toy" / "images").iterdir())) == 2


def test_referenced_images_keep_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add(tmp_path / "pool", 0, "toy", [sample("a", "toy", images=(Path("a.png"),))])
    assert Pool.open(Path("pool"), Path("steps")).view(["toy/a"])[0].images == (tmp_path / "a.png",)


def test_an_image_that_vanished_before_it_was_copied_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png cannot be copied"):
        add(tmp_path / "pool", 0, "toy", [sample("a", "toy", images=(tmp_path / "gone.png",))], images="copy")


def test_a_damaged_file_is_named(two: Path, tmp_path: Path) -> None:
    (two / "restored.jsonl").write_text('{"id": "first/a"}\n{"id"')
    with pytest.raises(StoreError, match=r"restored\.jsonl line 2"):
        Pool.open(two, tmp_path / "steps")
    (two / "restored.jsonl").unlink()
    (two / "01-second" / merging.DATA_FILE).write_bytes(b"no arrow")
    with pytest.raises(StoreError, match="01-second"):
        Pool.open(two, tmp_path / "steps")


def test_many_rows_are_written_in_batches_and_found_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_ROWS", 7)
    numbers = np.random.default_rng(0).permutation(100)
    add(tmp_path / "pool", 0, "toy", (sample(f"{number:03d}", "toy") for number in numbers))
    pool = Pool.open(tmp_path / "pool", tmp_path / "steps")
    assert pool.ids.tolist() == [f"toy/{number:03d}" for number in range(100)]
    with pa.ipc.open_stream(str(tmp_path / "pool" / "00-toy" / merging.DATA_FILE)) as stream:
        assert max(batch.num_rows for batch in stream) == 7
    for number in numbers[:20]:
        assert pool.view([f"toy/{number:03d}"])[0] == sample(f"{number:03d}", "toy")


def test_order_is_that_of_python_for_any_letters(tmp_path: Path) -> None:
    names = ["Z", "a", "é", "🙂", "\ue000", "10", "9", "a~2", "a b"]
    add(tmp_path / "pool", 0, "toy", [sample(name, "toy") for name in names])
    assert Pool.open(tmp_path / "pool", tmp_path / "steps").ids.tolist() == sorted(f"toy/{name}" for name in names)


def test_importing_the_pool_and_the_formats_is_light() -> None:
    code = "import sys, adaptinf.pool, adaptinf.formats; print({'torch', 'datasets', 'ray'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
