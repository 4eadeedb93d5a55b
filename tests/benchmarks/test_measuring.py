"""Time and memory of a piece of work, measured in a process of its own."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import CaseFailed, Work, measure
from benchmarks.reporting import Report, as_table, growth, row_of, significant

MEGABYTE = 10**6


def allocating(megabytes: int) -> Work:
    def work() -> dict[str, int]:
        held = np.ones(megabytes * MEGABYTE, dtype=np.uint8)
        time.sleep(0.05)
        return {"bytes": held.nbytes, "process": os.getpid(), "cores": len(os.sched_getaffinity(0))}

    return work


def mapping(path: Path) -> Work:
    rows = np.load(path, mmap_mode="r")

    def work() -> dict[str, int]:
        total = int(rows.sum(dtype=np.int64))
        time.sleep(0.05)
        return {"sum": total}

    return work


def forking(megabytes: int) -> Work:
    held = np.ones(megabytes * MEGABYTE, dtype=np.uint8)

    def work() -> None:
        child = os.fork()
        if not child:
            time.sleep(0.1)
            os._exit(held[0] - 1)
        os.waitpid(child, 0)

    return work


def sleeping() -> Work:
    return lambda: time.sleep(0.1)


def failing() -> Work:
    raise ValueError("no such case")


def dying() -> Work:
    os._exit(9)


def leaving_a_file() -> Work:
    folder = Path(tempfile.mkdtemp())
    (folder / "image.jpg").touch()
    return lambda: {"folder": str(folder.parent)}


def test_memory_that_the_work_allocates_is_measured_and_memory_maps_do_not_count(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones(200 * MEGABYTE, dtype=np.uint8))
    allocated, mapped = measure(allocating, megabytes=200), measure(mapping, path=tmp_path / "rows.npy")
    assert 195 < (allocated.peak_bytes - allocated.start_bytes) / MEGABYTE < 260
    assert mapped.figures["sum"] == 200 * MEGABYTE
    assert (mapped.peak_bytes - mapped.start_bytes) / MEGABYTE < 40


def test_memory_that_a_fork_shares_with_its_parent_counts_once() -> None:
    measured = measure(forking, megabytes=200)
    assert measured.peak_bytes - measured.start_bytes < 100 * MEGABYTE


def test_the_work_runs_in_another_process_on_the_requested_number_of_cores() -> None:
    before = os.sched_getaffinity(0)
    measured = measure(allocating, megabytes=1, cores=1)
    assert measured.figures["process"] != os.getpid() and measured.figures["cores"] == 1
    assert os.sched_getaffinity(0) == before


def test_every_repeat_is_timed_without_the_preparation() -> None:
    measured = measure(sleeping, repeats=3)
    assert len(measured.all_seconds) == 3
    assert 0.1 <= measured.seconds <= measured.median_seconds < 0.5


def test_a_case_that_fails_or_dies_is_reported() -> None:
    with pytest.raises(CaseFailed, match="no such case"):
        measure(failing)
    with pytest.raises(CaseFailed, match="without a message .exit code 9"):
        measure(dying)


def test_temporary_files_of_a_case_are_removed() -> None:
    folder = Path(str(measure(leaving_a_file).figures["folder"]))
    assert folder.name.startswith("adaptinf-benchmark-") and not folder.exists()


def test_growth_is_the_exponent() -> None:
    sizes = [10, 100, 1000]
    assert growth(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_numbers_have_three_digits_and_tables_a_header() -> None:
    assert [significant(x) for x in (0, 0.01234, 1.234, 12.34, 1234.5)] == ["0", "0.0123", "1.23", "12.3", "1,234"]
    assert as_table([{"a": 1, "b": 2}, {"a": 3}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |"


def test_a_result_lists_what_is_needed_to_repeat_it(tmp_path: Path) -> None:
    report = Report("nothing", "Nothing at all")
    slow, fast = measure(sleeping), measure(allocating, megabytes=1)
    report.table([row_of("slow", slow), row_of("fast", fast, against=slow)])
    path = report.write(tmp_path)
    assert path.name.startswith("nothing_") and path.name.endswith(".md")
    for fact in ("commit", "numpy", "scikit-learn", "kernel", "cores", "python -m benchmarks.nothing"):
        assert fact in path.read_text()
