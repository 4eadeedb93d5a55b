"""kill -9 between evaluation, gate and rollback: the same command goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adaptinf.storage import tables
from tests.helpers.gated_streams import items, write_gated_stream

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["adaptinf.pipeline", "adaptinf.runs.learners", "datasets", "transformers"])


class Kill(NamedTuple):
    """A rename to die at."""

    place: str
    """End of the path that something is renamed to."""
    after: bool
    """Die when the rename is done, not before it."""
    call: int = 1
    """Which rename to this place, counted from 1 in this process."""


KILLS = [
    Kill("steps/00/model", after=True),
    Kill("steps/00/evaluation", after=False),
    Kill("steps/00/evaluation", after=True),
    Kill("steps/00/model-rejected", after=False),
    Kill("steps/00/model-rejected", after=True),
    Kill("steps/00/model", after=False),
    Kill("steps/00/model", after=True),
    Kill("steps/00/pruning", after=False),
    Kill("steps/01/evaluation", after=False),
    Kill("steps/01/evaluation", after=True),
    Kill("steps/01/model-rejected", after=False),
    Kill("steps/01/model-rejected", after=True),
    Kill("steps/01/model", after=False),
    Kill("steps/01/model", after=True),
    Kill("steps/02/evaluation", after=True),
]
"""In the order of a run whose first two steps are rolled back: each process takes up what the one before left."""


def run_command(stream: Path, out: Path, kill: Kill | None = None) -> int:
    """Return the exit code of `adaptinf run`; negative for a signal."""
    process = SERVER.Process(target=_in_child, args=(str(stream), str(out), kill))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _in_child(stream: str, out: str, kill: Kill | None) -> None:
    import torch

    from adaptinf import cli

    torch.set_num_threads(1)
    if kill is not None:
        _die_at(kill)
    sys.argv = ["adaptinf", "run", stream, "--out", out, "--quiet"]
    sys.stdout = sys.stderr = open(Path(out).with_suffix(".log"), "w")
    cli.main()


def _die_at(kill: Kill) -> None:
    real, calls = os.rename, [0]

    def deadly(source: Any, destination: Any) -> None:
        calls[0] += str(destination).endswith(kill.place)
        is_it = str(destination).endswith(kill.place) and calls[0] == kill.call
        if is_it and not kill.after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, destination)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)

    os.rename = deadly  # type: ignore[assignment]


def outcome(out: Path) -> dict[str, Any]:
    """Return what two runs on the same stream must agree in."""
    found: dict[str, Any] = {}
    for step in ("00", "01", "02"):
        folder = out / "steps" / step
        for name in ("gate.json", "matrix.json"):
            found[f"{step}/{name}"] = json.loads((folder / "evaluation" / name).read_text())
        for model in ("model", "model-rejected"):
            for path in sorted((folder / model).glob("*")):
                if path.suffix == ".safetensors":
                    found[f"{step}/{model}/{path.name}"] = path.read_bytes()
        found[f"{step}/selection"] = tables.read_table(folder / "selection" / "selection.parquet")["id"].tolist()
    return found


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gated")
    plan = {"ocr": [items(30), items(12), items(13), items(30)]}
    return write_gated_stream(folder, plan, gate={"action": "rollback"}, num_steps=3)


@pytest.fixture(scope="module")
def undisturbed(stream, tmp_path_factory):
    """The outcome of a run that nobody killed."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run_command(stream, out) == 3
    found = outcome(out)
    assert found["02/matrix.json"]["rejected"] == [1, 2]
    assert "00/model/adapter_model.safetensors" not in found and "01/model/adapter_model.safetensors" not in found
    return found


@pytest.mark.slow
def test_a_run_killed_at_every_rename_of_a_rollback_ends_like_one_that_was_never_killed(stream, undisturbed, tmp_path):
    out = tmp_path / "run"
    for kill in KILLS:
        assert run_command(stream, out, kill) == -signal.SIGKILL, kill
    assert run_command(stream, out) == 3, "both rollbacks are reported by the first command that ends"
    assert outcome(out) == undisturbed
    assert not list(out.rglob("*.part"))
    assert "step 0, 1:" in out.with_suffix(".log").read_text()
    trainings = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    begun = [line["step"] for line in trainings if (line.get("stage"), line.get("event")) == ("model", "begin")]
    assert begun == [0, 1, 2], "no step trains twice"
    assert run_command(stream, out) == 0


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "place", ["steps/01/evaluation", "steps/01/model-rejected", "steps/01/model", "steps/01/pruning"]
)
def test_one_kill_at_any_rename_changes_nothing(stream, undisturbed, tmp_path, place, after):
    out = tmp_path / "run"
    call = 2 if place.endswith("/model") else 1  # the first one ends the training
    assert run_command(stream, out, Kill(place, after, call)) == -signal.SIGKILL
    assert run_command(stream, out) == 3
    assert outcome(out) == undisturbed
