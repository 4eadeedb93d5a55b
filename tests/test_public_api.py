"""Names and signatures that others rely on, and no torch before it is needed."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import adaptinf

PACKAGE = Path(adaptinf.__file__).parent
HEAVY = ("torch", "transformers", "ray", "peft", "sklearn", "datasets", "matplotlib", "plotly")

SIGNATURES = {
    "adaptinf.formats:read": ["path", "format=None", "images=None"],
    "adaptinf.formats:write": ["samples", "path", "format"],
    "adaptinf.models:load": ["config"],
    "adaptinf.extraction:extract": ["samples", "learner", "config", "*out", "*executor=None"],
    "adaptinf.clustering:cluster": ["vectors", "*ids", "*clusters='auto'", "*seed=0"],
    "adaptinf.selection:allocate": ["sizes", "budget", "*seed=0"],
    "adaptinf.selection:select": [
        "scores", "labels", "ids", "budget", "*method='adapt'", "*seed=0", "*vectors=None", "*embeddings=None",
        "*centers=None", "*distances=None", "*arrived=None", "*skills=None", "**options",
    ],
    "adaptinf.pruning:prune": [
        "embeddings", "labels", "ids", "cap", "*seed=0", "*order='greedy'", "*allocation='balanced'",
    ],
    "adaptinf.evaluation.metrics:average_accuracy": ["matrix"],
    "adaptinf.evaluation.metrics:relative_gain": ["matrix", "reference"],
    "adaptinf.evaluation.metrics:forgetting_rate": ["matrix", "introduced_at"],
    "adaptinf.evaluation.metrics:forward_transfer": ["matrix", "introduced_at"],
    "adaptinf.evaluation.metrics:backward_transfer": ["matrix", "introduced_at"],
    "adaptinf.pipeline:run_step": ["run", "step"],
    "adaptinf.report:write_report": ["run_folders", "out"],
}  # fmt: skip
"""DESIGN section 4: `*` marks keyword-only parameters. More optional ones may follow."""


def parameters(function):
    marks = {inspect.Parameter.KEYWORD_ONLY: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        f"{marks.get(own.kind, '')}{name}" + ("" if own.default is own.empty else f"={own.default!r}")
        for name, own in inspect.signature(function).parameters.items()
    ]


@pytest.mark.parametrize("place", SIGNATURES)
def test_public_functions_have_the_promised_signatures(place):
    module, _, name = place.partition(":")
    function = getattr(importlib.import_module(module), name)
    found, promised = parameters(function), SIGNATURES[place]
    positional = [item for item in promised if not item.startswith("*")]
    assert found[: len(positional)] == positional
    assert [item for item in found if item in promised] == promised
    # Whoever calls it as promised may leave everything else out.
    assert all("=" in item or item.startswith("**") for item in found if item not in promised)
    assert inspect.getdoc(function)


def test_a_run_and_what_functions_return_have_the_promised_fields():
    from adaptinf.data import Clusters, Pruning, Selection
    from adaptinf.models import Learner
    from adaptinf.pipeline import Run

    assert {"folder", "config"} <= set(Run.__dataclass_fields__)
    assert {"model", "processor"} <= set(Learner.__dataclass_fields__)
    assert hasattr(Learner, "device") and hasattr(Learner, "fingerprint")
    assert {"labels", "centers", "distances"} <= set(Clusters.__dataclass_fields__)
    assert {"indices", "ids", "table", "clusters"} <= set(Selection.__dataclass_fields__)
    assert {"kept", "removed", "neighbour", "similarity"} <= set(Pruning.__dataclass_fields__)


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (["adaptinf", "adaptinf.cli", "adaptinf.config", "adaptinf.runs"], HEAVY),
        (
            [
                "adaptinf.selection", "adaptinf.clustering", "adaptinf.pruning", "adaptinf.evaluation.metrics",
                "adaptinf.formats", "adaptinf.pool", "adaptinf.runs.status", "adaptinf.doctor.dataset",
                "adaptinf.cli.console",
                "adaptinf.select_files", "adaptinf.report",
            ],
            ("torch", "transformers", "ray", "peft"),
        ),
    ],
)  # fmt: skip
def test_importing_what_needs_no_model_imports_no_torch(modules, forbidden):
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert done.stderr == ""
