"""Speed of reading data, against what others need for the same file: json.loads, `datasets`, plain PIL decoding.

    python -m benchmarks.ingest            # a million rows, 20,000 images; ten minutes on two cores
    python -m benchmarks.ingest --quick    # small data; shows that the script runs

Every case works in a process of its own with all imports made; the processes that it starts use the same cores. Only
the ratios mean something on a machine with other load.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pyarrow.json import read_json

from adaptinf import api
from adaptinf.demo.stream import BASE_PATHS
from adaptinf.executors.processes import usable_cores
from benchmarks.measuring import Measured, Work, measure
from benchmarks.reporting import Report, arguments_of, significant

NUM_ROWS, NUM_IMAGES = 1_000_000, 20_000
SHRINK = 200
"""How many times smaller the data of --quick are."""
REPEATS = 3
WORDS = "the a model image answer question river stone bright seventeen count colour of with under explain".split()
SIDES = (640, 480)
NUM_ORIGINALS = 100
"""Images that are drawn; the others have the same pixels and other bytes, since equal contents are decoded once."""
ROWS_PER_GROUP = 100
"""Rows of a row group with images, as `datasets` writes them."""
PROGRAM = """
import atexit, sys
from pathlib import Path

@atexit.register
def tell():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(line, file=sys.stderr)

from adaptinf.cli import main
main()
"""
"""Runs a command and writes the largest memory that it had, in kilobytes, as the last line of its errors."""
BASE = str(BASE_PATHS[0].resolve())


def text_row(number: int, rng: random.Random) -> dict[str, Any]:
    """Return a row in the format of LLaVA, about 280 bytes."""
    question, answer = " ".join(rng.choices(WORDS, k=12)), " ".join(rng.choices(WORDS, k=22))
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": f"row-{number:07d}", "conversations": turns}


def write_rows(folder: Path, num_rows: int) -> tuple[Path, Path]:
    """Write text rows as lines, and as Parquet as `datasets` writes it."""
    import datasets

    datasets.disable_progress_bars()
    lines, table, rng = folder / "rows.jsonl", folder / "rows.parquet", random.Random(0)
    with lines.open("w", encoding="utf-8") as file:
        for number in range(num_rows):
            file.write(json.dumps(text_row(number, rng)) + "\n")
    datasets.Dataset(read_json(lines)).to_parquet(table)
    return lines, table


def write_images(folder: Path, num_images: int) -> Path:
    """Write rows with an image each, its bytes in the row."""
    path = folder / "images.parquet"
    originals = []
    for number in range(NUM_ORIGINALS):
        file = io.BytesIO()
        Image.effect_noise(SIDES, 40 + number % 30).convert("RGB").save(file, "jpeg", quality=75)
        originals.append(file.getvalue())
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    turn = pa.struct([("from", pa.string()), ("value", pa.string())])
    schema = pa.schema([("id", pa.string()), ("image", kind), ("conversations", pa.list_(turn))])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, num_images, ROWS_PER_GROUP):
            rows = [_image_row(number, originals) for number in range(first, min(first + ROWS_PER_GROUP, num_images))]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return path


def _image_row(number: int, originals: list[bytes]) -> dict[str, Any]:
    content = originals[number % NUM_ORIGINALS] + number.to_bytes(4, "big")  # after the end that a decoder reads to
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": f"Noise {number}."}]
    return {"id": str(number), "image": {"bytes": content, "path": f"{number}.jpg"}, "conversations": turns}


def json_loads(path: Path) -> Work:
    """Return a loop of json.loads over the lines of a file."""

    def work() -> dict[str, Any]:
        with path.open(encoding="utf-8") as file:
            return {"rows": sum(1 for line in file if json.loads(line))}

    return work


def loaded_by_datasets(path: Path) -> Work:
    """Return loading a file with `datasets`, nothing cached."""
    import datasets

    datasets.disable_progress_bars()
    kind = "json" if path.suffix == ".jsonl" else "parquet"

    def work() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as cache:
            found = datasets.load_dataset(kind, data_files=str(path), cache_dir=cache, split="train")
            return {"rows": len(found)}

    return work


def decoded_by_pil(path: Path) -> Work:
    """Return decoding the images of a Parquet file, in as many processes as this process has cores."""

    def work() -> dict[str, Any]:
        groups = range(pq.ParquetFile(path).num_row_groups)
        with multiprocessing.get_context("spawn").Pool(usable_cores()) as pool:
            return {"images": sum(pool.imap_unordered(partial(_decoded, path), groups))}

    return work


def _decoded(path: Path, group: int) -> int:
    images = pq.ParquetFile(path).read_row_group(group, columns=["image"]).column("image").to_pylist()
    for image in images:
        with Image.open(io.BytesIO(image["bytes"])) as opened:
            opened.load()
    return len(images)


def validated(path: Path) -> Work:
    """Return `validate`."""
    import adaptinf.doctor.dataset  # noqa: F401

    return lambda: {"samples": api.validate(path).num_samples}


def added(path: Path) -> Work:
    """Return `add` to an empty run."""
    api.add(_new_run(), _one_row())  # makes all imports

    return lambda: {"samples": api.add(_new_run(), path).num_samples}


def _one_row() -> Path:
    path = Path(tempfile.mkdtemp()) / "one.jsonl"
    path.write_text(json.dumps(text_row(0, random.Random(0))) + "\n", encoding="utf-8")
    return path


def _new_run() -> Path:
    folder = Path(tempfile.mkdtemp()) / "run"
    api.init(folder, model=BASE)
    return folder


def main() -> None:
    """Measure everything and write the result."""
    given = arguments_of(__doc__)
    shrink, repeats = (SHRINK, 1) if given.quick else (1, REPEATS)
    report = Report("ingest", "Reading data", ["datasets", "orjson", "pillow"])
    report.text(
        f"{usable_cores()} processes. Fastest of {repeats} repeats; memory is anonymous, of all\nprocesses together.\n"
    )
    with tempfile.TemporaryDirectory() as name:
        lines, table = write_rows(Path(name), NUM_ROWS // shrink)
        megabytes = lines.stat().st_size / 1e6
        report.text(f"## {NUM_ROWS // shrink:,} text rows of LLaVA, {megabytes:,.0f} MB as lines\n")
        report.table(list(_text_rows(lines, table, repeats)))
        report.text("## The run that they were added to\n")
        report.table(list(_commands(Path(name), lines)))
        images = write_images(Path(name), NUM_IMAGES // shrink)
        report.text(f"## {NUM_IMAGES // shrink:,} images of {SIDES[0]} x {SIDES[1]} pixels in the rows of Parquet\n")
        report.table(list(_images(images, repeats)))
    report.write(given.out)


def _text_rows(lines: Path, table: Path, repeats: int) -> Iterator[dict[str, object]]:
    loop = measure(json_loads, path=lines, repeats=repeats)
    yield _row("json.loads over the lines", loop)
    loaded = measure(loaded_by_datasets, path=lines, repeats=repeats)
    yield _row("datasets.load_dataset, lines", loaded)
    of_lines = measure(validated, path=lines, repeats=repeats)
    yield _row("validate, lines", of_lines, "json.loads", of_lines.seconds / loop.seconds, "at most 4")
    of_table = measure(validated, path=table, repeats=repeats)
    yield _row("validate, Parquet", of_table, "validate, lines", of_table.seconds / of_lines.seconds, "at most 1")
    add_lines = measure(added, path=lines, repeats=repeats)
    yield _row("add, lines", add_lines, "datasets, lines", add_lines.seconds / loaded.seconds, "at most 6")
    add_table = measure(added, path=table, repeats=repeats)
    yield _row("add, Parquet", add_table, "add, lines", add_table.seconds / add_lines.seconds, "at most 1")


def _images(path: Path, repeats: int) -> Iterator[dict[str, object]]:
    plain = measure(decoded_by_pil, path=path, repeats=repeats)
    yield _row("PIL, as many processes", plain)
    for name, case in (("validate", validated), ("add", added)):
        measured = measure(case, path=path, repeats=repeats)
        speed = plain.seconds / measured.seconds
        yield _row(name, measured, "speed of PIL", speed, "at least 0.8")


def _row(
    name: str, measured: Measured, against: str = "", ratio: float | None = None, wanted: str = ""
) -> dict[str, object]:
    return {
        "what": name,
        "seconds": significant(measured.seconds),
        "above start, MB": f"{(measured.peak_bytes - measured.start_bytes) / 1e6:,.0f}",
        "ratio": "" if ratio is None else significant(ratio),
        "to": against,
        "wanted": wanted,
    }


def _commands(folder: Path, lines: Path) -> Iterator[dict[str, object]]:
    """Yield what commands take on a run with the rows, each as a program of its own, imports included."""
    run = folder / "run"
    api.init(run, model=BASE)
    api.add(run, lines)
    for words, wanted in ((["status", str(run)], "at most 1 s, 200 MB"), (["list"], "at most 0.8 s")):
        costs = [_command(*words) for _ in range(REPEATS)]
        seconds, megabytes = min(cost[0] for cost in costs), max(cost[1] for cost in costs)
        yield {"command": words[0], "seconds": significant(seconds), "MB": f"{megabytes:,.0f}", "wanted": wanted}


def _command(*words: str) -> tuple[float, float]:
    """Return seconds and the largest resident megabytes of a command, as Linux tells them to the command itself."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr.decode()
    return seconds, int(done.stderr.split()[-2]) / 1000


if __name__ == "__main__":
    main()
