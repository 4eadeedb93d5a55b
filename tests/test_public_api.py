"""Names and signatures that others rely on, and no torch before it is needed."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import adaptinf
from tests.helpers.public_api import SIGNATURES

PACKAGE = Path(adaptinf.__file__).parent
HEAVY = ("torch", "transformers", "ray", "peft", "sklearn", "datasets", "matplotlib", "plotly")


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
        (["adaptinf.api", "adaptinf.cli"], (*HEAVY, "numpy", "pandas", "pyarrow", "pydantic", "yaml")),
        (["adaptinf", "adaptinf.api", "adaptinf.cli", "adaptinf.config", "adaptinf.runs"], HEAVY),
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
