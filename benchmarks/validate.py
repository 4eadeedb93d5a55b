"""Speed of `validate --model` per sample, compared with another revision of the package in one run.

    git worktree add ../before bac650e
    python -m benchmarks.validate --before ../before

Both read the same files in processes of their own, in turn. CPU time per sample (a busy machine changes wall time) is
the slope between a short and a long file, so that imports and loading the model do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.reporting import RESULTS, Report

ROOT = Path(__file__).parents[1]
SIZES = (200, 1000)
"""Samples of the short and of the long file."""
REPEATS = 3
LEAST_RATIO = 0.8
"""Samples per second of now over before that must be reached."""

TIMED = """
import sys, time
from adaptinf.doctor.dataset import validate
begin = time.process_time()
found = validate(sys.argv[1], model=sys.argv[2])
assert found.tokens.measured == int(sys.argv[3]), found
print(time.process_time() - begin)
"""


def write_data(folder: Path, num_samples: int, *, with_images: bool) -> Path:
    """Write conversations of one to three answers, each with an image of its own or all without one."""
    folder.mkdir()
    rows = []
    for number in range(num_samples):
        tag = {"image": f"{number}.jpg"} if with_images else {}
        turns = []
        for turn in range(1 + number % 3):
            question = f"What is {number} plus {turn}? " + "Explain. " * (number % 9)
            turns.append({"from": "human", "value": "<image>\n" * (bool(tag) and not turn) + question})
            turns.append({"from": "gpt", "value": f"It is {number + turn}, as anyone can count. " * (1 + number % 4)})
        rows.append({"id": str(number), **tag, "conversations": turns})
        if tag:
            Image.effect_noise((640, 480), 60 + number % 20).save(folder / tag["image"])
    path = folder / "data.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def seconds(package: Path, data: Path, model: Path, num_samples: int) -> float:
    """Return the CPU seconds of `validate` in a process with the package of a revision."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", TIMED, str(data), str(model), str(num_samples)]
    done = subprocess.run(command, env=environment, cwd=data.parent, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def per_sample(package: Path, files: dict[int, Path], model: Path) -> float:
    """Return the CPU milliseconds that one more sample costs."""
    short, long = (seconds(package, files[size], model, size) for size in SIZES)
    return 1000 * (long - short) / (SIZES[1] - SIZES[0])


def main() -> None:
    """Measure both revisions in turn and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder that holds the other revision's adaptinf/")
    parser.add_argument("--name", default="before", help="what to call the other revision, such as its commit")
    parser.add_argument("--notes", default="", help="a sentence for the result")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    given = parser.parse_args()
    model = ROOT / "adaptinf" / "demo" / "base"
    report = Report("validate", "validate --model: time per sample", ["torch", "transformers", "pillow"])
    report.text(f"Slope between {SIZES[0]:,} and {SIZES[1]:,} samples, one thread. Medians of {REPEATS} rounds.\n")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind in ("text only", "an image each, 640 x 480"):
            with_images = kind != "text only"
            files = {
                size: write_data(Path(name) / f"{size}-{with_images}", size, with_images=with_images) for size in SIZES
            }
            pairs = [(per_sample(given.before, files, model), per_sample(ROOT, files, model)) for _ in range(REPEATS)]
            before, now = (statistics.median(column) for column in zip(*pairs, strict=True))
            row = {"rows": kind, f"{given.name}, ms": f"{before:.3f}", "now, ms": f"{now:.3f}"}
            rows.append({**row, "speed of now over before": f"{before / now:.2f}"})
    report.table(rows)
    report.text(f"At least {LEAST_RATIO} is wanted. {given.notes}")
    report.write(given.out)


if __name__ == "__main__":
    main()
