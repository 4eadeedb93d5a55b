"""Print figures of the package's structure: rooms, imports between them, loops, lengths, typed names.

    python scripts/structure.py [FOLDER]

A room is a file or folder directly below the package; an arrow is a pair of files in two rooms, one of which imports
the other, lazy imports included.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(package: Path) -> dict[str, ast.Module]:
    """Return the parsed source of each module, named below the package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(trees: dict[str, ast.Module], root: str) -> set[tuple[str, str]]:
    """Return every pair (module, module that it imports)."""
    pairs = set()
    for name, tree in trees.items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [one if one.removeprefix(f"{root}.") in trees else node.module for one in inner]
            for other in names:
                if other.startswith(f"{root}.") and other.removeprefix(f"{root}.") in trees:
                    pairs.add((name, other.removeprefix(f"{root}.")))
    return pairs


def loops(pairs: set[tuple[str, str]]) -> list[set[str]]:
    """Return the sets of names that reach each other."""
    after: dict[str, set[str]] = {}
    for one, other in pairs:
        after.setdefault(one, set()).add(other)

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for other in after.get(waiting.pop(), set()) - found:
                found.add(other)
                waiting.append(other)
        return found

    reach = {name: reached(name) for name in after}
    found: list[set[str]] = []
    for name, others in reach.items():
        together = {other for other in others if name in reach.get(other, set())}
        if len(together) > 1 and together not in found:
            found.append(together)
    return found


def functions(trees: dict[str, ast.Module]) -> Iterator[tuple[str, Function]]:
    """Yield every function with its place."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{name}.{node.name}", node


def lines_of(function: Function) -> int:
    """Return the lines of a function without its signature, its documentation and blank ends."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def is_typed(function: Function) -> bool:
    """Tell whether every parameter and the result of a function have a type."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    own = [one for number, one in enumerate(arguments) if not (number == 0 and one.arg in ("self", "cls"))]
    return function.returns is not None and all(one.annotation for one in own)


def main() -> None:
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "adaptinf"
    trees = sources(package)
    pairs = imports(trees, package.name)
    rooms = {name.split(".")[0] for name in trees} - {""}
    arrows = {(one, other) for one, other in pairs if one.split(".")[0] != other.split(".")[0]}
    between = {(one.split(".")[0], other.split(".")[0]) for one, other in arrows}
    lengths = {name: lines_of(function) for name, function in functions(trees)}
    public = [function for _, function in functions(trees) if not function.name.startswith("_")]
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in package.rglob("*.py")}
    longest = max(counts, key=lambda path: counts[path])
    longest_function = max(lengths, key=lambda name: lengths[name])
    at_root = [path for path in package.glob("*.py") if path.stem not in ("__init__", "__main__")]
    print(f"rooms: {len(rooms)}, of which modules at the root: {len(at_root)}")
    print(f"arrows: {len(arrows)} between files, {len(between)} between rooms")
    print(f"loops: {len(loops(between))} between rooms, {len(loops(pairs))} between files")
    print(f"modules: {len(counts)}, {sum(counts.values()):,} lines, longest {counts[longest]} "
          f"({longest.relative_to(package)})")  # fmt: skip
    print(f"functions: {len(lengths)}, median {statistics.median(lengths.values())} lines, "
          f"longest {lengths[longest_function]} ({longest_function})")  # fmt: skip
    print(f"public functions with all types: {sum(map(is_typed, public))} of {len(public)}")


if __name__ == "__main__":
    main()
