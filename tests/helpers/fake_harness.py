"""A harness of a few lines that writes what lmms-eval writes, or misbehaves as `behaviour.json` beside it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SCRIPT = r"""
import json, os, pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
told = json.loads((here / "behaviour.json").read_text())
arguments = dict(word.split("=", 1) for word in sys.argv[1:])
output = pathlib.Path(arguments["output"])
call = {**arguments, "cwd": os.getcwd(), "empty": not list(output.iterdir())}
for key in ("model", "merged", "adapter"):
    place = arguments.get(key)
    call[f"{key}_files"] = sorted(os.listdir(place)) if place and os.path.isdir(place) else None
with open(here / "calls.jsonl", "a") as file:
    file.write(json.dumps(call) + "\n")
print("testing", arguments.get("task"), flush=True)
mode, task, count = told.get("mode"), told.get("task", "tiny"), told.get("items", 4)
if mode == "fails":
    print("no such task", file=sys.stderr)
    raise SystemExit(1)
if mode == "hangs":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)", told["mark"]], start_new_session=True)
    time.sleep(100)
if mode == "silent":
    raise SystemExit(0)
scores = [float(number % 2 == 0) for number in range(count)]
result = {
    "results": {task: {
        "alias": task, "acc,none": told.get("score", sum(scores) / max(1, count)),
        "acc_stderr,none": 0.25, "acc_stderr_clt,none": 0.2, "acc_stderr_clustered,none": "N/A",
    }},
    "n-samples": {task: {"original": told.get("original", count), "effective": told.get("effective", count)}},
    "versions": {task: "Yaml"},
    "configs": {task: {
        "task": task, "doc_to_text": f"<function text at {hex(id(told))}>",
        "generation_kwargs": {"until": told.get("until", ",")},
        "metadata": [{"version": 0.0, "model": str(arguments)}],
    }},
    "higher_is_better": {task: {"acc": told.get("better", True)}},
    "lmms_eval_version": told.get("version", "0.7.3"),
}
if mode == "two metrics":
    result["results"][task]["f1,none"] = 0.5
folder = output / "tiny-model"
folder.mkdir()
(folder / "cache.bin").write_bytes(b"x" * 1000)
text = json.dumps(result)
(folder / "20261128_070000_results.json").write_text(text[:50] if mode == "broken" else text)
if told.get("logs", True):
    with open(folder / f"20261128_070000_samples_{task}.jsonl", "w") as file:
        for number, score in enumerate(scores):
            line = {"doc_id": number, "input": f"Question {number}?", "target": str(number), "acc": score}
            line["filtered_resps"] = str(number) if score else "no"
            file.write(json.dumps(line) + "\n")
"""


class FakeHarness:
    """The script in a folder, and the command that calls it."""

    def __init__(self, folder: Path, **behaviour: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "harness.py").write_text(SCRIPT, encoding="utf-8")
        self.behave(**behaviour)

    def behave(self, **behaviour: Any) -> None:
        """Say how it behaves from now on: mode, score, items, task, version, until, better, logs, mark, ..."""
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour), encoding="utf-8")

    def entry(self, skill: str = "pope", model: str = "merged={merged}", **others: Any) -> dict[str, Any]:
        """Return an entry of `evaluation:`."""
        script = self.folder / "harness.py"
        command = f"'{sys.executable}' '{script}' output={{output}} {model} step={{step}}"
        return {"skill": skill, "command": command, "reads": "lmms_eval", **others}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was called with, call by call."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
