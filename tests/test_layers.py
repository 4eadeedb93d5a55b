"""Folders in layers: imports run downwards only, lazy ones too, and no two modules import each other in a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import adaptinf

PACKAGE = Path(adaptinf.__file__).parent

LAYERS = (
    {"errors"},
    {"words", "images", "storage"},
    {"outside"},
    {"data", "arrays", "registry", "progress", "config"},
    {"sources"},
    {"formats", "models", "scoring", "executors"},
    {"distributed"},
    {"pool", "extraction", "clustering", "selection", "training", "pruning", "evaluation"},
    {"runs"},
    {"pipeline", "history", "results", "doctor", "select_files", "verify"},
    {"report", "model_export", "view", "live"},
    {"compare"},
    {"demo"},
    {"api"},
    {"cli"},
    {"__main__", "worker"},
)
"""Folders and modules directly below adaptinf/, from the ground up. Those of one layer do not import each other."""

LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}
USES_TORCH = {
    "models", "extraction", "training", "evaluation.generation", "evaluation.answering", "doctor", "compare",
    "distributed.peers",
}  # fmt: skip
"""Others take arrays and give arrays; a stage that runs on a GPU imports torch inside the function that asks for it."""
MODEL_LIBRARIES = ("torch", "peft", "transformers", "accelerate")
MAX_AT_THE_ROOT = 11
"""Modules beside __init__ and __main__."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the dotted name below adaptinf and the parsed source of each module; the package itself is named ``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


SOURCES = dict(sources())


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of all modules that a file imports, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("adaptinf.") in SOURCES else str(node.module)


def own_imports(tree: ast.AST) -> set[str]:
    """Return the modules of the package that a file imports, named below adaptinf."""
    names = {name.removeprefix("adaptinf.") for name in imported(tree) if name.startswith("adaptinf.")}
    return names & SOURCES.keys()


IMPORTS = {name: own_imports(tree) for name, tree in SOURCES.items()}


def top(name: str) -> str:
    return name.split(".")[0]


def test_every_folder_has_its_place_in_the_layers():
    assert {top(name) for name in SOURCES} - {""} == set(LEVEL)


def test_imports_run_downwards_only():
    wrong = [
        (name, other)
        for name, others in IMPORTS.items()
        for other in others
        if name and top(name) != top(other) and LEVEL[top(other)] >= LEVEL[top(name)]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_loop():
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a loop: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in finished:
            for other in sorted(IMPORTS[name] - {name}):
                visit(other, (*path, name))
            finished.add(name)

    for name in SOURCES:
        visit(name, ())


def test_the_root_stays_small():
    at_root = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(at_root) <= MAX_AT_THE_ROOT, sorted(at_root)


def test_torch_is_imported_by_the_modules_that_run_models_only():
    wrong = []
    for name, tree in SOURCES.items():
        uses = any(top(other) in MODEL_LIBRARIES for other in imported(tree))
        allowed = any(name == own or name.startswith(f"{own}.") for own in USES_TORCH)
        # Only inside a function: the demo makes its own base model, clustering may ask for a GPU, workers get one each.
        statements = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        at_top = any(top(other) in MODEL_LIBRARIES for node in statements for other in imported(node))
        may_be_lazy = top(name) in {"clustering", "demo", "distributed"} or name in {
            "arrays.tiles",
            "executors.devices",
        }
        if uses and not allowed and (at_top or not may_be_lazy):
            wrong.append(name)
    assert wrong == []


def test_no_module_below_the_command_line_prints():
    wrong = [
        name
        for name, tree in SOURCES.items()
        if top(name) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


CLI_MAY_IMPORT = {"api", "cli", "errors", "progress", "words"}
CLI_ALSO_IMPORTS = {
    "cli": {"storage.space"},  # what a full disk is called
    "cli.output": {"storage.tables"},  # JSON in which NaN is null, as in every file
    "cli.console_tables": {
        "results.both_scores",
        "results.columns",
        "selection.traits",
    },  # how numbers are written, which row is a baseline
    "cli.sample_text": {"data"},  # a rejected row is shown in another way than a sample
}
"""What the command line needs to format results. Types alone are imported under TYPE_CHECKING, whatever they are."""


def without_types(tree: ast.Module) -> ast.Module:
    """Return a module without what it imports for type checkers alone."""
    statements = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return ast.Module(body=statements, type_ignores=[])


def test_the_command_line_calls_the_api_and_formats():
    used: dict[str, set[str]] = {}
    for name, tree in SOURCES.items():
        if top(name) == "cli":
            others = {other for other in own_imports(without_types(tree)) if top(other) not in CLI_MAY_IMPORT}
            used |= {name: others} if others else {}
    assert used == CLI_ALSO_IMPORTS


def test_no_global_random_generator_is_called():
    wrong = []
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                inner = node.value
                if isinstance(inner.value, ast.Name) and (inner.value.id, inner.attr) == ("np", "random"):
                    if node.attr not in ("default_rng", "Generator", "PCG64", "SeedSequence"):
                        wrong.append((name, node.attr))
            if isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names):
                wrong.append((name, "random"))
    assert wrong == []


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield every text constant of a file that is no documentation."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def names_of_the_run_folder() -> set[str]:
    """Return every file name of a run folder, from where it is spelled."""
    from adaptinf.data import SAVED
    from adaptinf.pool import corrections, merging, relocation
    from adaptinf.runs import layout
    from adaptinf.storage import checksums, store

    of_artifacts = {value for kind in SAVED for name, value in vars(kind).items() if name.isupper()}
    of_runs = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
    of_pool = {merging.REPAIRED_FILE, corrections.RESTORED, corrections.WITHDRAWN, relocation.RELOCATED}
    found = of_artifacts | of_runs | of_pool | {store.INFO, store.REJECTED, checksums.CHECKSUMS}
    return {name for name in found if "." in name and " " not in name and "\n" not in name}


def test_each_file_name_of_the_run_folder_is_spelled_once():
    names = names_of_the_run_folder()
    assert {"selection.parquet", "info.json", "events.jsonl", "config.yaml", "rejected.jsonl"} <= names
    places = {
        name: [module for module, tree in SOURCES.items() for text in strings(tree) if text == name] for name in names
    }
    assert {name: modules for name, modules in places.items() if len(modules) != 1} == {}
    homes = {top(module) for modules in places.values() for module in modules}
    assert homes <= {"runs", "pool", "data", "storage"}
