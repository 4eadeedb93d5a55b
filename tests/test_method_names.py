"""Methods say what they are: no code outside of their own files knows one by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import adaptinf
from adaptinf.registry import selector

PACKAGE = Path(adaptinf.__file__).parent
HOME = PACKAGE / "selection" / "methods"


def defaults(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the default of every parameter and field that is called `method`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "method" and node.value:
            yield node.value
        if isinstance(node, ast.arguments):
            named = zip([*node.posonlyargs, *node.args][::-1], node.defaults[::-1], strict=False)
            named = [*named, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            yield from (value for argument, value in named if argument.arg == "method" and value)


def lists_of_names(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of DEMO_METHODS, what the demo compares, and of FORMER_..., answers of an earlier version."""
    for node in ast.walk(tree):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(name, ast.Name) and name.id.startswith(("DEMO_METHODS", "FORMER_")) for name in targets):
            yield from ast.walk(node)


def named_methods(source: str) -> list[str]:
    """Return the names of methods in a file, without defaults of `method` and the lists above."""
    tree, names = ast.parse(source), set(selector.names())
    allowed = {id(node) for node in [*defaults(tree), *lists_of_names(tree)]}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in texts if node.value in names and id(node) not in allowed]


def test_a_comparison_with_the_name_of_a_method_is_found_and_a_default_is_not():
    assert named_methods("def f(a, method='adapt'): return method == 'multitask'") == ["multitask"]
    assert named_methods("def f(*, method='adapt', other='dbp'): ...") == ["dbp"]
    assert named_methods("class A:\n    method: str = 'adapt_plus'\n    name = 'oracle'") == ["oracle"]
    assert named_methods("FORMER_A: dict = {'dbp': 1}\nFORMER_B = {'oracle'}\nOTHER = ('dbp', 1)") == ["dbp"]


def test_no_module_outside_of_their_own_folder_names_a_method():
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if not path.is_relative_to(HOME)]
    found = {path.relative_to(PACKAGE).as_posix(): named_methods(path.read_text("utf-8")) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}
