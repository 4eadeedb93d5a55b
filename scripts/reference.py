"""Write docs/map.md, docs/reference-config.md and generated parts of docs/commands.md and docs/metrics.md.

`commands.md` has one generated section per command, between `<!-- command: NAME -->` and `<!-- end of command -->`,
`metrics.md` one table, between `<!-- metrics -->` and `<!-- end of metrics -->`; what stands outside of the marks is
written by hand. A test compares the pages with the code.

python scripts/reference.py
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from adaptinf.cli import app
from adaptinf.config import RunConfig, Section
from adaptinf.evaluation.answers.judge import Option, options_of
from adaptinf.registry import metric

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MADE = "Generated from the code by `python scripts/reference.py`; a test compares them."
MARKED = re.compile(r"(?P<begin><!-- command: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of command -->)", re.S)
METRICS_TABLE = re.compile(r"(?P<begin><!-- metrics -->\n).*?(?P<end><!-- end of metrics -->)", re.S)
WHOLE_FOLDERS = ("demo/skills",)
"""Folders of adaptinf/ that are one entry of the map."""
TOP_FOLDERS = {
    "adaptinf/": "the package: below, folder by folder",
    "tests/": "the tests, in the same folders as the package; `tests/helpers/` has what they share",
    "benchmarks/": "time and memory of each stage, the runs behind findings.md, and all results with their hardware",
    "scripts/": "generators of pages, tables and the screenshot of the report; pre-training of the tiny models",
    "examples/": "a `stream.yaml`, a notebook, a scorer, a selector, and selection without a model",
    "docs/": "these pages; `make docs` builds the site",
}
"""Of the repository, with their content."""


def commands_page(text: str) -> str:
    """Return the page of commands with every marked section generated again.

    Raises:
        ValueError: The marked sections are not exactly the commands.
    """
    group = typer.main.get_command(app)
    # Any: the commands that typer makes are click's, which has no part in the interface of typer.
    commands: dict[str, Any] = group.commands  # type: ignore[attr-defined]
    marked = [found["name"] for found in MARKED.finditer(text)]
    if sorted(marked) != sorted(commands):
        raise ValueError(f"commands.md has sections for {sorted(marked)}, the command line has {sorted(commands)}")

    def generated(found: re.Match[str]) -> str:
        name = found["name"]
        return f"{found['begin']}\n{_command(name, commands[name])}\n{found['end']}"

    return MARKED.sub(generated, text)


def _command(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    words = [_argument(item) for item in arguments]
    lines = [f"### adaptinf {' '.join([name, *words])}", "", command.help.strip(), ""]
    if arguments or options:
        lines += ["| argument, option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{item.name.upper()}` | {_default(item)} | {_escaped(item.help)} |" for item in arguments]
    lines += [f"| `{max(item.opts, key=len)}` | {_default(item)} | {_escaped(item.help)} |" for item in options]
    return "\n".join([*lines, ""])


def _argument(item: Any) -> str:
    name = f"{item.name.upper()}{'...' if item.nargs < 0 else ''}"
    return name if item.required else f"[{name}]"


def _default(item: Any) -> str:
    if item.required:
        return "required"
    # Identity, not equality: a default of 0 is shown, and equals False.
    if item.default is None or item.default is False or item.default == "" or callable(item.default):
        return ""
    return f"`{item.default}`"


def metrics_page(text: str) -> str:
    """Return the page of metrics with its table generated again.

    Raises:
        ValueError: The page has no table.
    """
    if len(METRICS_TABLE.findall(text)) != 1:
        raise ValueError("metrics.md has no table between <!-- metrics --> and <!-- end of metrics -->")
    lines = ["| metric | score of one item | options |", "|---|---|---|"]
    for name in metric.names():
        meaning = (inspect.getdoc(metric[name]) or "").splitlines()[0].removeprefix("Return ")
        options = "; ".join(_option(option, found) for option, found in options_of(name).items())
        lines.append(f"| `{name}` | {_escaped(meaning)} | {options} |")
    table = "\n".join(["", *lines, "", ""])
    return METRICS_TABLE.sub(lambda found: f"{found['begin']}{table}{found['end']}", text)


def _option(name: str, option: Option) -> str:
    default = json.dumps(option.default).strip('"')
    return f"`{name}`: {_type(option.kind)} (`{default}`)"


def config_page() -> str:
    """Return every setting of stream.yaml with its type, its default and its help."""
    intro = (
        f"{MADE} All settings except `model.path` and `stream` have a default; `--set` overrides one setting of a run."
    )
    return "\n".join(["# Settings", "", intro, "", *_section("", RunConfig)])


def _section(place: str, section: type[Section]) -> Iterator[str]:
    fields = {name: field for name, field in section.model_fields.items() if name != "made_by"}
    leaves = {name: field for name, field in fields.items() if _inner(field) is None}
    if leaves:
        yield from ["| setting | value | default | meaning |", "|---|---|---|---|"]
        for name, field in leaves.items():
            key = name if place.endswith("[]") or not place else f"{place}.{name}"
            yield f"| `{key}` | {_type(field.annotation)} | {_value(field)} | {_escaped(field.description)} |"
        yield ""
    for name, field in fields.items():
        inner = _inner(field)
        if inner is not None:
            is_list = get_origin(field.annotation) is list
            below = f"{place}.{name}".lstrip(".")
            yield f"{'#' * (2 + below.count('.'))} {below}{': one entry' if is_list else ''}"
            yield from ["", _escaped(field.description), ""]
            yield from _section(f"{below}[]" if is_list else below, inner)


def _inner(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, or is a list of."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _type(kind: Any) -> str:
    """Return a type as the user writes its values."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(item) for item in inner)
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "names and values"
    return {int: "whole number", float: "number", str: "text", bool: "`true`, `false`", type(None): "`null`"}[kind]


def _value(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or isinstance(field.default, bool):
        return {None: "`null`", True: "`true`", False: "`false`"}[field.default]
    if field.default == "":
        return "required"
    return f"`{field.default}`".replace("'", "")


def map_page() -> str:
    """Return every folder and file of the package with the first sentence of its docstring."""
    intro = f"{MADE} Each description is the first sentence of the module's docstring."
    top = ["| folder | content |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in TOP_FOLDERS.items())]
    return "\n".join(["# Map of the code", "", intro, "", *top, "", *_folder(ROOT / "adaptinf")])


def _folder(folder: Path) -> Iterator[str]:
    """Yield a folder's heading and table, then those of the folders below it."""
    name = folder.relative_to(ROOT).as_posix()
    files = sorted(folder.glob("*.py"), key=lambda path: (path.name != "__init__.py", path.name))
    yield from [f"## {name}/", "", _escaped(_first_sentence(files[0])) + ".", ""]
    below = sorted(path for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.py")))
    whole = [path for path in below if path.relative_to(ROOT / "adaptinf").as_posix() in WHOLE_FOLDERS]
    entries = [(path.name, path) for path in files[1:]] + [(f"{path.name}/", path / "__init__.py") for path in whole]
    if entries:
        yield from ["| file | content |", "|---|---|"]
        yield from (f"| `{entry}` | {_escaped(_first_sentence(path))} |" for entry, path in entries)
        yield ""
    for path in below:
        if path not in whole:
            yield from _folder(path)


def _first_sentence(path: Path) -> str:
    """Return a module's first line of documentation, without the full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = text.split("\n\n")[0].replace("\n", " ").removesuffix(".")
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", sentence)


def _escaped(text: str | None) -> str:
    return (text or "").replace("\n", " ").replace("|", "\\|").replace("<", "&lt;").strip()


def main() -> None:
    commands = DOCS / "commands.md"
    commands.write_text(commands_page(commands.read_text(encoding="utf-8")), encoding="utf-8")
    metrics = DOCS / "metrics.md"
    metrics.write_text(metrics_page(metrics.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "reference-config.md").write_text(config_page(), encoding="utf-8")
    (DOCS / "map.md").write_text(map_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
