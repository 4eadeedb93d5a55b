"""lmms-eval itself, in an environment of its own and offline, tests a tiny model with a task of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptinf import api
from adaptinf.data import Evaluation
from adaptinf.runs import Run
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = [pytest.mark.slow, pytest.mark.heavy, pytest.mark.timeout(1200)]

PACKAGES = [
    "lmms-eval==0.7.3", "aiohappyeyeballs", "aiohttp", "aiosignal", "chardet", "DataProperty", "evaluate", "frozenlist",
    "jsonlines", "loguru", "mbstrdecoder", "multidict", "pathvalidate", "propcache", "pytablewriter", "pytz",
    "tabledata", "tcolorpy", "tenacity", "tqdm-multiprocess", "typepy", "yarl",
]  # fmt: skip
"""What it needs at its start beside what this environment has; torchvision and decord are for videos."""
STAND_IN = "VideoReader = cpu = None\n"
"""Of decord, which reads videos and has no wheel for today's Python."""
TASK = """
task: tiny_colours
dataset_path: json
dataset_kwargs: {data_files: {test: ITEMS}}
test_split: test
output_type: generate_until
doc_to_visual: !function tiny.visual
doc_to_text: !function tiny.text
doc_to_target: answer
generation_kwargs: {max_new_tokens: 3, do_sample: false}
process_results: !function tiny.results
metric_list: [{metric: accuracy, aggregation: mean, higher_is_better: true}]
metadata: [{version: 1.0}]
"""
CODE = """
from PIL import Image

def visual(doc):
    return [Image.open(doc["image"]).convert("RGB")]

def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def results(doc, results):
    return {"accuracy": float(results[0].strip().lower() == doc["answer"])}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The Python of an environment with lmms-eval, which borrows the large packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (own,) = folder.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (own / "borrowed.pth").write_text("\n".join(borrowed))
    (own / "decord.py").write_text(STAND_IN)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"lmms-eval cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def write_task(folder: Path, data: Path, items) -> None:
    folder.mkdir()
    lines = [
        {
            "question": item["conversations"][0]["value"].removeprefix("<image>\n"),
            "answer": item["conversations"][1]["value"],
            "image": str(data / "images" / item["image"]),
        }
        for item in items
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "tiny.yaml").write_text(TASK.replace("ITEMS", str(folder / "items.jsonl")))
    (folder / "tiny.py").write_text(CODE)


def test_lmms_eval_says_of_each_step_what_our_own_test_says(program, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path.endswith("site-packages")))
    items = rows(16)[::2]
    datasets = [write_dataset(tmp_path, name, rows(12, word=name)) for name in ("one", "two")]
    write_task(tmp_path / "task", tmp_path, items)
    arguments = "pretrained={merged},device=cpu,device_map=cpu,dtype=float32"
    entry = {
        "skill": "harness",
        "command": f"'{program}' -m lmms_eval --model llava_hf --model_args {arguments} --include_path task "
        "--tasks tiny_colours --batch_size 1 --output_path {output} --log_samples",
        "reads": "lmms_eval",
        "timeout": "5m",
    }
    stream = write_stream(
        tmp_path / "stream.yaml",
        datasets,
        [write_test(tmp_path, "colours", items), entry],
        model={"path": str(BASE_PATH), "dtype": "float32", "max_length": 256},
        selection={"method": "random_replay", "budget": 8},
        training={"tune": "lora", "learning_rate": 1.0e-2, "epochs": 4},
    )
    api.run(stream, out=tmp_path / "run")
    run = Run.open(tmp_path / "run")
    said = set()
    for step in (-1, 0, 1):
        evaluation = run.load(step, Evaluation)
        assert evaluation is not None
        table = evaluation.predictions
        ours, theirs = (table["skill"] == name for name in ("colours", "harness"))
        assert [text.strip() for text in table["prediction"][theirs]] == table["prediction"][ours].tolist()
        np.testing.assert_array_equal(table["score"][theirs], table["score"][ours])
        assert evaluation.matrix[-1, 0] == evaluation.matrix[-1, 1]
        said.add(tuple(table["prediction"][theirs]))
    assert len(said) > 1, "training changed nothing"
    assert evaluation.num_items.tolist() == [8, 8] and evaluation.breaks == {}
    assert evaluation.info["harness"]["harness"]["version"].startswith("lmms-eval 0.7.3, tiny_colours 1.0 (settings ")
