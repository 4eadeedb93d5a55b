"""The forecast of a run is arithmetic over rows, rates, workers and devices; mixed GPUs and missing workers show."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adaptinf.config import RunConfig
from adaptinf.doctor import machine
from adaptinf.doctor import workers as crews
from adaptinf.doctor.forecast import Plan, Rates, forecast
from adaptinf.doctor.machine import mixed_gpus
from adaptinf.doctor.workers import check_devices, check_workers
from adaptinf.executors.interface import Crew
from adaptinf.runs.methods import cap_of
from adaptinf.words import format_seconds

PLAN = Plan(num_rows=(1000, 3000), cap=500, budget=200, epochs=2, num_workers=4, num_devices=2)


def test_rows_follow_from_cap_and_budget():
    assert PLAN.rows_measured == [1000, 3500] and PLAN.rows_trained == [400, 400]
    whole = Plan(num_rows=(10, 20), cap=None, budget=None)
    assert whole.rows_measured == [10, 30] and whole.rows_trained == [10, 30]


def test_workers_and_devices_divide_the_time(tmp_path: Path):
    checks = {check.name: check for check in forecast(PLAN, Rates(10.0, 4.0), 100, tmp_path, lower="pruning.cap")}
    assert checks["whole pool"].value == "4,000 rows: 1 min 40 s with 4 workers, 400.0 KB"
    assert checks["whole run"].value == "2 steps measure 4,500 rows: 1 min 52 s with 4 workers, up to 700.0 KB at once"
    assert checks["all trainings"].value == "800 rows: 1 min 40 s on 2 devices"
    untried = forecast(PLAN, Rates(10.0, None), 100, tmp_path, lower="pruning.cap")
    assert [check.name for check in untried] == ["whole pool", "whole run"]


def test_mixed_types_of_gpus_are_a_warning_and_one_type_is_none(monkeypatch: pytest.MonkeyPatch):
    import torch

    assert mixed_gpus([]) == mixed_gpus(["H100", "H100"]) == []
    (check,) = mixed_gpus(["H100", "A100", "H100"])
    assert check.is_good and check.value == "warning: mixed (1 x A100, 2 x H100)" and "last bits" in check.advice
    names = ["NVIDIA H100", "NVIDIA A100"]

    class Properties:
        total_memory = 2**33

        def __init__(self, number: int) -> None:
            self.name = names[number]

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: names[number])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    found = {check.name: check for check in machine.examine(Path("."))}
    assert found["gpu types"].value == "warning: mixed (1 x NVIDIA A100, 1 x NVIDIA H100)"
    assert found["cuda:1"].value.startswith("NVIDIA A100") and "gpu" not in found


def test_workers_are_counted_and_those_that_cannot_be_had_are_a_bad_check(monkeypatch: pytest.MonkeyPatch):
    import torch

    assert check_workers(RunConfig()) == (1, [])
    asked = RunConfig.model_validate({"executor": "processes", "workers": 3, "model": {"device": "cpu"}})
    number, (check,) = check_workers(asked)
    assert number == 3 and check.value == "executor: processes, 3 workers"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    number, (check,) = check_workers(RunConfig.model_validate({"executor": "processes", "workers": 3}))
    assert number == 1 and not check.is_good and check.value.startswith("workers: 3, but this machine has 2 GPUs")

    assert check_devices(RunConfig())[0] == 2
    number, (check,) = check_devices(RunConfig.model_validate({"training": {"devices": 3}}))
    assert number == 1 and not check.is_good and check.value.startswith("training.devices: 3, but this machine has")

    class Cluster:
        def crew(self) -> Crew:
            return Crew(2, ("H100", "A100"))

    made: Any = Cluster()
    monkeypatch.setattr(crews, "make_executor", lambda config: made)
    number, checks = check_workers(RunConfig())
    assert number == 2 and [check.name for check in checks] == ["workers", "gpu types"]


def test_processes_that_share_cores_are_no_faster_than_the_cores(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(crews, "usable_cores", lambda: 4)
    for threads, number, share in [(4, 1, 1.0), (8, 1, 1.0), (1, 4, 1.0), (1, 50, 0.08), (4, 4, 0.25), (8, 2, 0.5)]:
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert crews.core_share(number) == pytest.approx(share), (threads, number)
        assert bool(crews.check_cores(number)) == (share < 1)
    (check,) = crews.check_cores(4)
    assert check.value == "warning: 4 workers of 8 threads share 4 cores, together 1 x one" and check.is_good
    assert Rates(10.0, 4.0).shared(0.5, 0.25) == Rates(5.0, 1.0) and Rates(10.0, None).shared(1, 1).trained is None


PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()


def test_the_arithmetic_of_the_page_is_that_of_the_forecast():
    one = Plan(num_rows=(100_000,) * 6, cap=100_000, budget=25_000)
    eight, rates = replace(one, num_workers=8, num_devices=8), Rates(17.0, 8.0)
    measured, trained = sum(one.rows_measured), sum(one.rows_trained)
    rows = {
        "measured": (measured, *(plan.measuring_seconds(measured, rates) for plan in (one, eight))),
        "trained on": (trained, *(plan.training_seconds(rates) for plan in (one, eight))),
    }
    for name, (count, *seconds) in rows.items():
        times = " | ".join(format_seconds(number) for number in seconds if number is not None)
        assert f"| {name} | {count:,} | {times} |" in PAGE
    settings = RunConfig.model_validate({"stream": [{"name": f"d{n}", "path": "x.json"} for n in range(6)]})
    assert (cap_of(settings), settings.selection.budget, settings.training.epochs) == (one.cap, one.budget, one.epochs)


def test_the_scripts_of_the_page_are_shell(tmp_path: Path):
    scripts = re.findall(r"^```(?:sh|bash)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(scripts) >= 2 and any("#SBATCH" in script for script in scripts)
    for script in scripts:
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert checked.returncode == 0 and not checked.stderr, checked.stderr
        for line in script.splitlines():
            if line.startswith("adaptinf run"):
                sets = [word.partition("#")[0] for word in shlex.split(line) if "=" in word]
                RunConfig.model_validate(nested(sets))


def nested(sets: list[str]) -> dict[str, Any]:
    """Return settings of the form a.b=value as sections."""
    found: dict[str, Any] = {}
    for line in sets:
        *sections, key = line.partition("=")[0].split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = line.partition("=")[2]
    return found
