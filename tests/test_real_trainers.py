"""Trainers that people use, run by the commands of docs/trainers.md: their losses, adapters over steps, a kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from safetensors.torch import load_file

from adaptinf.data import Selection, Trained
from adaptinf.runs import Run
from adaptinf.storage import tables
from tests.helpers.streams import rows, write_dataset, write_stream
from tests.helpers.text_model import write_text_model
from tests.helpers.trainer_environments import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ROOT = Path(__file__).parent.parent
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<eos>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<eos>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""With generation marks, which TRL needs."""
ON_A_CPU = "--use_cpu --bf16 false --lora_dropout 0.0 --lora_r 4 --lora_alpha 8 --lr_scheduler_type constant"
"""Options of `trl sft` that make it compute what the built-in trainer computes here."""


def documented(heading: str, number: int = 0) -> dict[str, Any]:
    """Return a block of settings below a heading of docs/trainers.md."""
    page = (ROOT / "docs" / "trainers.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: dict[str, Any] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)[number])["training"]
    return found


def with_options(training: dict[str, Any], program: str, where: Path, options: str, **others: Any) -> dict[str, Any]:
    """Return documented settings with the program of an environment, and with options after its own."""
    command = re.sub(rf"/envs/\S+/{program}(?= )", str(where / program), training["command"])
    assert str(where) in command
    return {**training, "command": command.replace("--report_to none", f"--report_to none {options}"), **others}


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Return a function that writes a stream of `num_steps` datasets of questions for a tiny text model."""
    folder = tmp_path_factory.mktemp("given")
    model = write_text_model(folder / "model", template=TEMPLATE, initializer_range=0.2)
    datasets = [write_dataset(folder, name, rows(24, images=False, word=name)) for name in ("thing", "item")]

    def write(place: Path, training: dict[str, Any], *, num_steps: int = 1, **others: Any) -> Path:
        place.mkdir(parents=True, exist_ok=True)
        settings = {
            "model": {"path": str(model)},
            "selection": {"method": "random_replay", "budget": 16},
            "training": training,
            **others,
        }
        return write_stream(place / "stream.yaml", datasets[:num_steps], **settings)

    return write


def without_defaults(path: Path, *names: str) -> Path:
    """Take settings out of a stream.yaml, so that they are at their defaults."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    found["training"] = {key: value for key, value in found["training"].items() if key not in names}
    path.write_text(yaml.safe_dump(found), encoding="utf-8")
    return path


def adaptinf(*words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "adaptinf", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(stream: Path, folder: Path) -> Run:
    process = adaptinf("run", stream, "--out", folder)
    said, _ = process.communicate()
    assert process.returncode == 0, said[-4000:]
    return Run.open(folder)


def trained(run: Run, step: int = 0) -> Trained:
    found = run.load(step, Trained)
    assert found is not None
    return found


def outside(path: Path) -> Path:
    return without_defaults(path, "batch_size", "micro_batch_size", "lr_scheduler", "warmup_ratio")


PLAIN = {"tune": "lora", "adapter": "merge", "epochs": 8, "learning_rate": 2.0e-3, "batch_size": 2}
BUILT_IN = {**PLAIN, "micro_batch_size": 2, "lr_scheduler": "constant", "warmup_ratio": 0.0}


def test_the_losses_of_trl_and_of_the_built_in_trainer_agree_over_three_seeds(stream, tmp_path):
    trl = with_options(
        documented("TRL"), "trl", environment("trl"), f"{ON_A_CPU} --per_device_train_batch_size 2", epochs=8,
        learning_rate=2.0e-3, tune="lora",
    )  # fmt: skip
    ends: dict[str, list[float]] = {"built-in": [], "trl": []}
    for seed in range(3):
        chosen = []
        for name, training in (("built-in", BUILT_IN), ("trl", trl)):
            path = stream(tmp_path / f"{name}-{seed}", training, seed=seed)
            made = run(outside(path) if name == "trl" else path, tmp_path / f"{name}-{seed}" / "run")
            log = trained(made).log
            ends[name].append(float(np.mean([record["loss"] for record in log if record["epoch"] > 6])))
            selection = tables.read_table(made.stage_folder(0, Selection) / Selection.SAMPLES)
            chosen.append(selection["id"].tolist())
            first = [record["loss"] for record in log if record["epoch"] <= 1]
            assert np.mean(first) > ends[name][-1] + 2, "it learns"
        assert chosen[0] == chosen[1]
    one, other = (np.array(ends[name]) for name in ("built-in", "trl"))
    noise = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 3)
    print(f"built-in {one.round(4)}, trl {other.round(4)}, noise {noise:.4f}")
    assert abs(one.mean() - other.mean()) <= 3 * noise, (ends, noise)


def test_a_killed_training_of_trl_ends_with_the_run_and_goes_on_from_its_checkpoint(stream, tmp_path):
    options = f"{ON_A_CPU} --per_device_train_batch_size 2 --save_steps 20 --logging_steps 5"
    training = with_options(documented("TRL", 1), "trl", environment("trl"), options, epochs=60, learning_rate=1e-3)
    path, folder = outside(stream(tmp_path, {**training, "tune": "lora"})), tmp_path / "run"
    part = folder / "steps" / "00" / "model.part"
    process = adaptinf("run", path, "--out", folder)
    wait_for(lambda: list(part.glob("checkpoints/checkpoint-*/trainer_state.json")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not trainers_below(part))
    made = run(path, folder)
    outputs = Trained.outputs(made.stage_folder(0, Trained))
    assert len(outputs) == 2 and not (part / "checkpoints").exists()
    steps = [record["step"] for record in trained(made).log]
    assert steps == list(range(5, 481, 5)) and trained(made).info["optimizer_steps"] == 480
    # The second attempt did not begin anew.
    again = re.findall(r"'epoch': '([\d.]+)'", outputs[1].read_text(encoding="utf-8"))
    assert float(again[0]) > 2


def wait_for(condition, process: subprocess.Popen[str] | None = None, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


def trainers_below(part: Path) -> list[int]:
    """Return the processes that work for the training in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(part) in word for word in words):
            found.append(process.pid)
    return found


def test_trl_trains_on_images_and_each_step_begins_an_adapter_on_the_merged_model(tmp_path):
    datasets = [write_dataset(tmp_path, name, rows(12, word=name)) for name in ("thing", "item")]
    options = f"{ON_A_CPU} --per_device_train_batch_size 2 --max_length none"
    training = with_options(documented("TRL"), "trl", environment("trl"), options, learning_rate=1e-3, tune="lora")
    path = write_stream(tmp_path / "stream.yaml", datasets, selection={"method": "random_replay"}, training=training)
    made = run(outside(path), tmp_path / "run")
    for step in (0, 1):
        text = Trained.outputs(made.stage_folder(step, Trained))[0].read_text(encoding="utf-8")
        assert "Training completed" in text and trained(made, step).info["final_loss"] > 0
    first, second = (load_file(made.stage_folder(step, Trained) / "adapter_model.safetensors") for step in (0, 1))
    assert max(float((second[key] - first[key]).abs().max()) for key in first if "lora_A" in key) > 0.05, "a new one"


@pytest.mark.parametrize("name", ["script", "llamafactory", "swift"])
def test_an_adapter_is_trained_further_over_two_steps(stream, tmp_path, name):
    if name == "script":
        training = documented("A script of one's own, torchrun")
        command = training["command"].replace("/envs/trl/bin/torchrun --nproc_per_node 4 train_adapter.py", "")
        script = ROOT / "examples" / "train_adapter.py"
        program = f"{environment('trl') / 'torchrun'} --nproc_per_node 1 {script}"
        training = {**training, "command": f"{program} {command} --rank 4 --batch_size 2"}
    elif name == "llamafactory":
        where = environment("llamafactory")
        options = "--lora_rank 4 --lora_alpha 8 --per_device_train_batch_size 2"
        training = with_options(documented("LLaMA-Factory"), "llamafactory-cli", where, options)
        training["command"] = training["command"].replace("--template qwen2_vl", "--template default")
    else:
        options = "--lora_rank 4 --lora_alpha 8 --per_device_train_batch_size 2 --gradient_accumulation_steps 1"
        options += " --model_type llama --template dummy --torch_dtype float32 --dataset_num_proc 1"
        training = with_options(documented("ms-swift"), "swift", environment("swift"), options)
    training = {**training, "learning_rate": 1e-3, "tune": "lora"}
    made = run(outside(stream(tmp_path, training, num_steps=2)), tmp_path / "run")
    first, second = (load_file(made.stage_folder(step, Trained) / "adapter_model.safetensors") for step in (0, 1))
    assert first.keys() == second.keys()
    assert all(0 < (second[key] - first[key]).abs().max() < 0.1 for key in first if "lora_A" in key)
    for step in (0, 1):
        info = trained(made, step).info
        assert info["optimizer_steps"] == 8 and info["final_loss"] > 0 and info["samples"] == 16
