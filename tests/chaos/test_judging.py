"""How tries are judged: every class is told from the others, and a planted fault is found."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.forks import Ended, forked
from tests.chaos.judging import Verdict, differences, fault, judged, refusal, same_json
from tests.chaos.table import as_markdown, rows_of

DONE = Ended(("status", "RUN"), 0, "fine\n", "", 0.1)
REFUSED = replace(DONE, code=2, err="adaptinf: /r/pool/00-one/info.json is damaged; bring back a copy\n")


def fault_of(**changes):
    found = fault(replace(DONE, **changes))
    return None if found is None else found.verdict


def test_a_crash_a_hang_and_a_signal_are_told_apart():
    assert fault_of() is None
    assert fault_of(code=1) == Verdict.TRACEBACK
    assert fault_of(code=2, err="Traceback (most recent call last):\n") == Verdict.TRACEBACK
    assert fault_of(code=-signal.SIGSEGV) == Verdict.SEGFAULT
    assert fault_of(code=-signal.SIGKILL, is_late=True) == Verdict.HANG
    assert fault(replace(DONE, code=-signal.SIGTERM), killed_by=signal.SIGTERM) is None


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\u202eb", "a\rb", "a\x00b", "a\u2028b"])
def test_raw_control_characters_are_found_in_what_is_printed(text):
    assert fault_of(out=text) == fault_of(err=text) == Verdict.POOR_MESSAGE


@pytest.mark.parametrize(
    "said",
    [
        "adaptinf: No space left on device; the same command goes on\n",
        "adaptinf: /r/info.json is damaged\n",
        "adaptinf: /r/info.json is damaged; bring back a copy\nand more\n",
        f"adaptinf: /r/info.json {'x' * 1100}; bring back a copy\n",
        "adaptinf: /r/other.json is damaged; bring back a copy\n",
        "info.json is damaged; bring back a copy\n",
        "",
    ],
)
def test_a_message_without_place_way_out_or_name_is_poor(said):
    assert refusal(REFUSED, ["info.json", "00-one"]).verdict == Verdict.HELD
    assert refusal(replace(REFUSED, err=said), ["info.json", "00-one"]).verdict == Verdict.POOR_MESSAGE


def test_success_with_another_result_is_silent_unless_the_command_names_the_damage():
    assert judged(DONE, lambda: []).verdict == Verdict.HELD
    assert judged(DONE, lambda: ["pool: 45, 20 after"]).verdict == Verdict.SILENT_WRONG
    noted = replace(DONE, out="steps/00/model is missing\n")
    assert judged(noted, lambda: ["trained: False"], noted="steps/00/model").verdict == Verdict.HELD


@pytest.fixture
def sides(tmp_path) -> tuple[Path, Path]:
    """Two equal results in two places."""
    folders = tmp_path / "one" / "run", tmp_path / "two" / "run"
    for folder in folders:
        folder.mkdir(parents=True)
        np.save(folder / "vectors.npy", np.arange(4.0))
        info = {"model": str(folder / "model"), "rows": 4, "seconds": float(len(str(folder)))}
        (folder / "info.json").write_text(json.dumps(info))
        (folder / "events.jsonl").write_text(str(folder))
    return folders


def test_places_and_timings_are_no_results(sides):
    assert differences(*sides) == []


def test_a_value_a_missing_file_and_a_new_file_are(sides):
    np.save(sides[1] / "vectors.npy", np.array([0.0, 1.0, 2.0, 3.0000001]))
    (line,) = differences(*sides)
    assert line.startswith("vectors.npy: array: 1 of 4 values differ")
    assert differences(*sides, without=["vectors.npy"]) == []
    (sides[1] / "info.json").rename(sides[1] / "other.json")
    assert differences(*sides, without=["vectors.npy"]) == ["info.json is missing", "other.json is new"]


def test_a_file_that_cannot_be_read_any_more_is_a_difference(sides):
    (sides[1] / "info.json").write_bytes(b"\xff{")
    (line,) = differences(*sides)
    assert line.startswith("info.json cannot be read")


def test_json_output_is_compared_without_places(sides):
    texts = [json.dumps({"folder": str(folder), "pool": 4, "disk_bytes": len(str(folder))}) for folder in sides]
    assert same_json(texts[0], texts[1], "status.json", sides) == []
    assert same_json(texts[0], texts[1].replace("4", "5", 1), "status.json", sides) != []
    assert same_json(texts[0], "nothing", "status.json", sides) != []


def test_a_forked_process_is_stopped_when_it_is_late_and_cannot_take_all_memory(tmp_path):
    def wait() -> int:
        signal.pause()
        return 0

    def fill() -> int:
        return len(bytes(64 << 30))

    assert forked(wait, tmp_path, seconds=0.2).is_late
    assert "MemoryError" in forked(fill, tmp_path).err
    assert forked(wait, tmp_path, stop=(0.05, signal.SIGTERM)).code == -signal.SIGTERM


def test_the_table_counts_each_attack_and_all():
    tried = [("kill, run", Verdict.HELD), ("kill, run", Verdict.HANG), ("flip, status", Verdict.SILENT_WRONG)]
    table = as_markdown(rows_of({"attack": attack, "verdict": verdict} for attack, verdict in tried)).splitlines()
    assert table[0] == "| attack | tries | silent wrong | traceback | segfault | hang | poor message | held |"
    assert table[2:] == [
        "| flip, status | 1 | 1 | 0 | 0 | 0 | 0 | 0 |",
        "| kill, run | 2 | 0 | 0 | 0 | 1 | 0 | 1 |",
        "| all | 3 | 1 | 0 | 0 | 1 | 0 | 1 |",
    ]
