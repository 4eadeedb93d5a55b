"""A trainer of a second: a script that writes an adapter as PEFT does, well or in one of many wrong ways."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = """
import json, os, subprocess, sys, time
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file, save_file

way, data, images, model, adapter, output, checkpoints, seed, epochs, rate, step = sys.argv[1:]
output, checkpoints, rng = Path(output), Path(checkpoints), np.random.default_rng(int(seed))
rank, alpha = (8, 8) if way == "other_rank" and adapter else (4, 16) if way == "other_alpha" and adapter else (4, 8)
rows = Path(data).read_text(encoding="utf-8").splitlines()
print("***** Running training *****\\n  Num examples =", len(rows) - (way == "fewer_rows"))
assert output.is_dir() and not list(output.iterdir()) and checkpoints.is_dir() and Path(images).is_dir()
attempt = len(list(checkpoints.iterdir())) + 1
(checkpoints / str(attempt)).mkdir()
for number in (1, 2):
    print({"loss": f"{2.5 / number:.4g}", "learning_rate": rate, "epoch": str(number / 2 * float(epochs))}, end="\\r")


def linears():
    for file in sorted(Path(model).glob("*.safetensors")):
        for name, weight in load_file(file).items():
            if weight.ndim == 2 and "_proj" in name:
                yield name.removesuffix(".weight"), weight.shape


def begun():
    found = {}
    for name, (outs, ins) in linears():
        ins += way == "other_shape"
        found[f"base_model.model.{name}.lora_A.weight"] = rng.normal(size=(rank, ins)).astype(np.float32) / ins**0.5
        found[f"base_model.model.{name}.lora_B.weight"] = np.zeros((outs, rank), np.float32)
    return found


def trained():
    is_new = not adapter or way in ("new_adapter", "other_rank", "other_alpha")
    weights = begun() if is_new else load_file(Path(adapter) / "adapter_model.safetensors")
    if way == "unchanged" or way == "no_step" and not adapter:
        return weights
    for name, weight in weights.items():
        weights[name] = weight + (rng.normal(size=weight.shape) * 0.02).astype(np.float32)
    return weights


def write_adapter(folder, base=model):
    weights = trained()
    if way == "nan":
        next(iter(weights.values()))[0, 0] = np.nan
    if way == "extra_weights":
        weights["base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight"] = np.ones((4, 4), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    targets = sorted({name.split(".")[-3] for name in weights if "lora_A" in name})
    settings = {"peft_type": "IA3" if way == "other_kind" else "LORA", "r": rank, "lora_alpha": alpha,
                "target_modules": targets, "base_model_name_or_path": base, "task_type": "CAUSAL_LM"}
    settings |= {"pissa": {"init_lora_weights": "pissa_niter_4"}, "new_setting": {"new_scaling": 3.0, "new_kind": None},
                 "biases": {"lora_bias": True}}.get(way, {})
    if way == "biases":
        weights |= {name.replace("weight", "bias"): np.full(len(value), 0.1, np.float32)
                    for name, value in weights.items() if name.endswith("lora_B.weight")}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    if way == "truncated":
        save_file(weights, folder / "adapter_model.safetensors")
        os.truncate(folder / "adapter_model.safetensors", 5000)
    else:
        save_file(weights, folder / "adapter_model.safetensors")


if way == "exit":
    print("\\n".join(f"line {number}" for number in range(30)))
    sys.exit(1)
elif way == "bytes":
    sys.stdout.buffer.write(b"caf\\xe9 \\x1b[31m\\xff\\n")
    sys.exit(3)
elif way == "hang":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (checkpoints / "child").write_text(str(child.pid))
    time.sleep(600)
elif way == "elsewhere":
    write_adapter(output / "checkpoint-2")
elif way == "other_base":
    write_adapter(output, base=os.environ["OTHER_BASE"])
elif way == "whole_model":
    for path in Path(os.environ.get("OTHER_BASE", model)).iterdir():
        (output / path.name).write_bytes(path.read_bytes())
    weights = load_file(output / "model.safetensors")
    for name, weight in weights.items():
        weights[name] = weight + (rng.normal(size=weight.shape) * 0.002).astype(np.float32)
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
elif way in ("removes_output", "links_output", "links_checkpoints"):
    place = checkpoints if way == "links_checkpoints" else output
    write_adapter(output)
    os.rename(place, place.with_name("moved"))
    if way != "removes_output":
        place.symlink_to("moved")
elif way == "stale":
    for path in Path(os.environ["STALE"]).glob("adapter_*"):
        (output / path.name).write_bytes(path.read_bytes())
elif way != "nothing":
    write_adapter(output)
    changed = {"trains_in_place": [adapter, "adapter_model.safetensors"], "changes_model": [model, "config.json"]}
    if way in changed and Path(*changed[way]).is_file():
        Path(*changed[way]).write_bytes(Path(*changed[way]).read_bytes() + b" ")
"""

PLACES = "{data} {images} {model} {adapter} {output} {checkpoints} {seed} {epochs} {learning_rate} {step}"
"""What the script takes after the way in which it trains."""


def write_fake_trainer(folder: Path, way: str = "well") -> str:
    """Write the script into a folder, and return the command that trains in some way: `well`, or a wrong one."""
    path = folder / "fake_trainer.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return f"{sys.executable} {path} {way} {PLACES}"
