"""The command line with a model whose processor needs torchvision, in processes that have it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from adaptinf.storage import tables
from tests.helpers.torchvision_folder import environment_with_torchvision

WRITE = """\
import sys
from pathlib import Path
from tests.helpers.families import FAMILIES
FAMILIES[sys.argv[1]].write(Path(sys.argv[2]))
"""
STREAM = """\
model: {path: model, dtype: float32, device: cpu, max_length: 256, lora: {rank: 4, alpha: 8}}
stream:
  - {name: boxes, path: data.json, images: images}
selection: {method: adapt, budget: 4}
training: {batch_size: 4, micro_batch_size: 4}
"""
NUM_ROWS = 11


def child(folder, *words):
    environment = {**environment_with_torchvision(), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven rows with a picture each, one of them 2000 x 6 pixels; Qwen's processor takes no ratio above 200."""
    folder = tmp_path_factory.mktemp("boxes")
    child(folder, "-c", WRITE, "qwen2_5_vl", folder / "model")
    (folder / "images").mkdir()
    Image.new("RGB", (64, 48), "red").save(folder / "images" / "box.png")
    Image.new("RGB", (2000, 6), "red").save(folder / "images" / "line.png")
    rows = [
        {
            "id": f"p{number}",
            "image": "line.png" if number == NUM_ROWS - 1 else "box.png",
            "conversations": [
                {"from": "human", "value": f"<image>\nWhich colour is box {number}?"},
                {"from": "gpt", "value": "Red."},
            ],
        }
        for number in range(NUM_ROWS)
    ]
    (folder / "data.json").write_text(json.dumps(rows))
    (folder / "stream.yaml").write_text(STREAM)
    return folder


def test_a_picture_that_the_processor_refuses_costs_its_own_row_alone(folder):
    child(folder, "-m", "adaptinf", "run", "stream.yaml", "--out", "out", "--quiet")
    step = folder / "out" / "steps" / "00"
    unusable = tables.read_table(step / "features" / "unusable.parquet")
    assert list(unusable["id"]) == ["boxes/p10"]
    assert "the processor refuses it: absolute aspect ratio must be smaller than 200" in unusable["reason"][0]
    scores = tables.read_table(step / "features" / "scores.parquet")
    scored = dict(zip(scores["id"], np.isfinite(scores["perplexity"]), strict=True))
    assert [id for id, is_scored in scored.items() if not is_scored] == ["boxes/p10"]
    assert tables.read_json(step / "selection" / "info.json")["rows"] == 4
    assert (step / "model" / "adapter_model.safetensors").is_file()


def test_a_line_break_after_the_end_token_is_not_learnt_and_no_warning_says_so(folder):
    words = ("--images", "images", "--model", "model", "--json")
    found = json.loads(child(folder, "-m", "adaptinf", "validate", "data.json", *words))
    assert found["tokens"]["first_answer"] == "Red.<|im_end|>"
    assert found["tokens"]["learns_to_stop"] is True
    pieces = json.loads(child(folder, "-m", "adaptinf", "inspect", "data.json", "0", *words))["pieces"]
    assert [piece["text"] for piece in pieces if piece["is_answer"]] == ["Red.<|im_end|>"]
    assert pieces[-1]["text"] == "\n"
    assert [piece["num_tokens"] > 1 for piece in pieces if piece["is_picture"]] == [True]
