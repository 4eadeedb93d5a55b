"""The comparison of same_outputs.sh finds one changed value in any kind of file, and accepts what is listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from scripts.same_outputs.comparison import Exempt, compare, difference_of

SCORES = {"id": ["a", "b"], "perplexity": [0.25, float("nan")]}
INFO = {"rows": 2, "mended": 1, "seconds": 1.5, "made_by": {"version": "0.1.0"}, "unreadable": []}
EVENTS = [
    {"time": "noon", "step": 0, "stage": "model", "event": "begin", "earlier_seconds": 0.0},
    {"time": "noon", "step": 0, "stage": "model", "event": "end", "seconds": 3.0, "shared": True},
]


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, values: list[Any]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal folders with one file of each kind."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "run").mkdir(parents=True)
    run = before / "run"
    pq.write_table(pa.table(SCORES), run / "scores.parquet")
    np.save(run / "vectors.npy", np.array([[1.0, np.nan], [3.0, 4.0]], dtype=np.float16))
    save_file({"layer.weight": np.ones((2, 3), np.float32)}, run / "adapter_model.safetensors")
    write_json(run / "info.json", INFO)
    write_lines(run / "events.jsonl", EVENTS)
    write_lines(run / "mended.jsonl", [{"id": "a", "notes": ["1 picture has no image tag"]}])
    (run / "config.yaml").write_text("# The seed.\nseed: 3\nmade_by: {version: 0.1.0}\n", encoding="utf-8")
    (run / "table.md").write_text("| method | time |\n| adapt | 0.5 s |\n\n- time: Of training.\n", encoding="utf-8")
    (run / "ids.txt").write_text("a\nb\n", encoding="utf-8")
    (run / "image.png").write_bytes(b"\x89PNG")
    with pa.OSFile(str(run / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, pa.table(SCORES).schema) as stream:
        stream.write_table(pa.table(SCORES))
    shutil.copytree(before, after)
    return before, after


def change_table(path: Path) -> None:
    pq.write_table(pa.table({**SCORES, "perplexity": [np.nextafter(0.25, 1), float("nan")]}), path)


def change_arrow(path: Path) -> None:
    changed = pa.table({**SCORES, "id": ["a", "c"]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, changed.schema) as stream:
        stream.write_table(changed)


def change_array(path: Path) -> None:
    array = np.load(path)
    array[1, 1] = np.nextafter(array[1, 1], np.float16(0))
    np.save(path, array)


def change_weight(path: Path) -> None:
    save_file({"layer.weight": np.array([[1, 1, 1], [1, 1, 1 + 2**-23]], np.float32)}, path)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "scores.parquet": (change_table, "perplexity: 1 of 2 values differ"),
    "data.arrow": (change_arrow, "id: 1 of 2 values differ"),
    "vectors.npy": (change_array, "array: 1 of 4 values differ, by at most 0.00195; [1, 1]"),
    "adapter_model.safetensors": (change_weight, "layer.weight: 1 of 6 values differ"),
    "info.json": (lambda path: write_json(path, {**INFO, "rows": 3}), "rows: 2, 3 after"),
    "events.jsonl": (lambda path: write_lines(path, EVENTS[:1]), "0/model/end.time: missing after"),
    "config.yaml": (lambda path: path.write_text("seed: 4\nmade_by: {version: 1}\n"), "seed: 3, 4 after"),
    "table.md": (lambda path: path.write_text("| method | time |\n| adapt | – |\n"), "row 1 cell 1: 'a duration', '–'"),
    "ids.txt": (lambda path: path.write_text("a\nc\n"), "line 2: 'b', 'c' after"),
    "image.png": (lambda path: path.write_bytes(b"\x89PNH"), "sha256: "),
    "mended.jsonl": (Path.unlink, "repaired.jsonl: missing after"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_changed_value_or_missing_file_is_found_in_every_kind_of_file(
    name: str, folders: tuple[Path, Path]
) -> None:
    before, after = folders
    assert compare(before, after).differences == []
    change, said = CHANGES[name]
    change(after / "run" / name)
    found = compare(before, after).differences
    assert said in found[0] and all(line.startswith(f"run/{name.replace('mended', 'repaired')}: ") for line in found)


@pytest.mark.parametrize("changed", [{**SCORES, "new": [1, 2]}, {"id": SCORES["id"]}, {**SCORES, "id": [b"a", b"b"]}])
def test_a_column_that_is_new_or_gone_or_of_another_type_is_found(
    changed: dict[str, Any], folders: tuple[Path, Path]
) -> None:
    before, after = folders
    pq.write_table(pa.table(changed), after / "run" / "scores.parquet")
    assert compare(before, after).differences


def test_an_array_of_another_type_or_shape_is_found() -> None:
    ones = np.ones((2, 3), np.float32)
    assert "float32 (2, 3), float16 (2, 3) after" in str(difference_of(ones, ones.astype(np.float16)))
    assert "float32 (2, 3), float32 (6,) after" in str(difference_of(ones, ones.ravel()))
    assert difference_of(1, 1.0) and difference_of(True, 1) and difference_of([], None)


def test_timings_versions_comments_sentences_and_the_rename_may_differ(folders: tuple[Path, Path]) -> None:
    before, after = folders
    run = after / "run"
    info = {"repaired" if key == "mended" else key: value for key, value in INFO.items()}
    write_json(run / "info.json", {**info, "seconds": 2.5, "made_by": {"version": "0.2.0"}})
    # A kill repeats a line; the last one wins.
    write_lines(run / "events.jsonl", [EVENTS[0], EVENTS[0], {**EVENTS[1], "seconds": 4.0, "time": "one"}])
    (run / "mended.jsonl").unlink()
    write_lines(run / "repaired.jsonl", [{"id": "a", "notes": ["1 image has no tag"]}])
    (run / "config.yaml").write_text("# Of all draws.\nseed: 3\nmade_by: {version: 0.2.0}\n", encoding="utf-8")
    (run / "table.md").write_text("| method | time |\n| adapt | 1 min |\n\n- time: Training.\n", encoding="utf-8")
    (run / "report.html").write_text("new", encoding="utf-8")
    (run / ".lock").write_text("17", encoding="utf-8")
    (run / ".heartbeat.json").write_text("{}", encoding="utf-8")
    found = compare(before, after)
    assert found.differences == [] and found.num_files == 11
    assert found.exempted == {"timings": 2, "times": 1, "versions, git commits, times": 2, "sentences": 1}


def test_what_only_the_second_folder_has_is_printed_unless_it_is_listed(folders: tuple[Path, Path]) -> None:
    before, after = folders
    (after / "run" / "config.yaml").write_text("seed: 3\nnew: 1\nmade_by: {version: 0.1.0}\n", encoding="utf-8")
    (after / "run" / "checksums.json").write_text("{}", encoding="utf-8")
    found = compare(before, after).differences
    assert found == ["run/checksums.json: *: only after: a new file", "run/config.yaml: new: only after: 1"]
    listed = [Exempt("*/config.yaml", "new", "a new setting"), Exempt("*/checksums.json", "*", "checksums")]
    assert compare(before, after, added=listed).differences == []
    assert len(compare(after, before, added=listed).differences) == 2


def test_resolved_settings_may_differ_where_they_were_left_open_and_options_may_move(tmp_path: Path) -> None:
    def settings(name: str, text: str) -> None:
        path = tmp_path / name / "run" / "steps" / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def found() -> list[str]:
        return compare(tmp_path / "before", tmp_path / "after").differences

    settings("before", "extraction: {vector: auto, dim: 8}\nselection: {choose: borda, options: {}}\n")
    settings("after", "extraction: {vector: hidden, dim: 8}\nselection: {options: {choose: borda, a: 1}}\n")
    assert found() == []
    settings("after", "extraction: {vector: hidden, dim: 9}\nselection: {choose: null, options: {choose: entropy}}\n")
    assert [line.split(": ")[1] for line in found()] == ["extraction.dim", "selection.options.choose"]
    settings("before", "extraction: {vector: gradient, dim: 8}\nselection: {options: {}}\n")
    settings("after", "extraction: {vector: hidden, dim: 8}\n")
    assert [line.split(": ")[1] for line in found()] == ["extraction.vector", "selection.options"]


def test_absolute_paths_of_outputs_and_trees_and_the_hashes_of_shared_stages_may_differ(tmp_path: Path) -> None:
    for name, digest in (("before", "0" * 16), ("after", "f" * 16)):
        folder = tmp_path / name
        stage = folder / "compare" / "shared" / f"00-features-{digest}" / "made"
        stage.mkdir(parents=True)
        write_json(folder / "places.json", {"outputs": f"/{name}.part", "tree": f"/{name}.part/tree"})
        write_json(stage / "paths.json", {f"/{name}.part/run": f"/{name}.part/tree/base", "other": "/data"})
    found = compare(tmp_path / "before", tmp_path / "after")
    assert (found.num_files, found.num_values, found.differences) == (1, 2, [])
    write_json(stage / "paths.json", {"/after.part/run": "/elsewhere/base", "other": "/data"})
    assert compare(tmp_path / "before", tmp_path / "after").differences


def test_skipped_jobs_are_left_out(folders: tuple[Path, Path]) -> None:
    before, after = folders
    shutil.rmtree(after / "run")
    assert compare(before, after).differences
    assert compare(before, after, skipped=["run"]).differences == []
