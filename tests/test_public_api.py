"""Names and signatures that others rely on, imports that run downwards only, and no torch before it is needed."""

from __future__ import annotations

import ast
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
                "adaptinf.formats", "adaptinf.pool", "adaptinf.status", "adaptinf.validation", "adaptinf.cli.console",
                "adaptinf.choosing", "adaptinf.report",
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


LAYERS = {
    0: {"errors", "tables", "threads", "data", "quantities", "hints", "__init__"},
    1: {
        "schema",
        "config",
        "store",
        "executors",
        "registry",
        "progress",
        "seeded",
        "budgets",
        "tiles",
        "pictures",
        "score_table",
        "centers",
        "sharing",
        "environment",
    },
    # Plug-ins, models, and what stages are made of.
    2: {"formats", "models", "scoring", "intake", "removal", "corrections"},
    3: {"pool", "extraction", "clustering", "selection", "training", "pruning", "evaluation"},
    # What knows the run folder.
    4: {"runs", "finding"},
    5: {
        "pipeline",
        "report",
        "compare",
        "joining",
        "learners",
        "status",
        "preflight",
        "validation",
        "doctor",
        "checkup",
        "choosing",
        "amending",
        "explain",
        "lives",
        "inspection",
        "export",
    },
    6: {"cli", "demo"},
}
"""DESIGN section 3, from the ground up."""

STAGES = LAYERS[3]
USES_TORCH = {"models", "extraction", "training", "evaluation.generation", "doctor", "checkup", "compare"}
"""Others take arrays and give arrays; a stage that runs on a GPU imports torch inside the function that asks for it."""


def level(top: str) -> int | None:
    return next((number for number, names in LAYERS.items() if top in names), None)


def sources():
    """Yield (dotted name below adaptinf, parsed source)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST):
    """Yield the dotted names of all modules that a file imports, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            if node.module == "adaptinf":
                yield from (f"adaptinf.{alias.name}" for alias in node.names)


def own_imports(tree: ast.AST) -> set[str]:
    """Return the top names below adaptinf that a file imports."""
    return {name.split(".")[1] for name in imported(tree) if name.startswith("adaptinf.")} - {"__version__"}


def test_stages_never_import_each_other():
    wrong = [
        (name, other)
        for name, tree in sources()
        for other in own_imports(tree) & STAGES
        if name.split(".")[0] in STAGES and other != name.split(".")[0]
    ]
    assert wrong == []


def test_imports_run_downwards_only():
    wrong = []
    for name, tree in sources():
        own = level(name.split(".")[0])
        for other in own_imports(tree):
            if other == name.split(".")[0] or own is None or level(other) is None:
                continue
            if level(other) > own:
                wrong.append((name, other))
    assert wrong == []


def test_every_module_of_the_package_has_its_place_in_the_layers():
    placed = set().union(*LAYERS.values())
    names = {name.split(".")[0] for name, _ in sources()}
    assert names - {"__main__"} == placed


def test_torch_is_imported_by_the_modules_that_run_models_only():
    wrong = []
    for name, tree in sources():
        uses = any(other.split(".")[0] in ("torch", "peft", "transformers", "accelerate") for other in imported(tree))
        allowed = any(name == own or name.startswith(f"{own}.") for own in USES_TORCH)
        # Only inside a function: the demo makes its own base model, clustering may ask for a GPU, the CLI calms logs.
        top = {node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
        uses_at_top = any(
            other.split(".")[0] in ("torch", "peft", "transformers", "accelerate")
            for node in top
            for other in imported(ast.Module(body=[node], type_ignores=[]))
        )
        if uses and not allowed and (uses_at_top or name.split(".")[0] not in {"clustering", "cli", "demo", "tiles"}):
            wrong.append(name)
    assert [name for name in wrong if not name.startswith("demo")] == []


def test_no_module_below_the_command_line_prints():
    speakers = {"cli", "progress"}
    wrong = [
        name
        for name, tree in sources()
        if name.split(".")[0] not in speakers | {"demo"}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def test_no_global_random_generator_is_called():
    wrong = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                inner = node.value
                if isinstance(inner.value, ast.Name) and (inner.value.id, inner.attr) == ("np", "random"):
                    if node.attr not in ("default_rng", "Generator", "PCG64", "SeedSequence"):
                        wrong.append((name, node.attr))
            if isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names):
                wrong.append((name, "random"))
    assert wrong == []
