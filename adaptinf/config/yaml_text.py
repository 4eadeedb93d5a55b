"""YAML as the configuration reads it: no key twice, every value that cannot be read named with its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from adaptinf.errors import ConfigError

MAX_DEPTH = 100
"""Sections within sections; a configuration has four."""

# The parser in C reads a stream of thousands of datasets ten times as fast; not every installation has it.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Parser):  # type: ignore[misc]  # one of two classes without types
    """Builds plain values; what a value cannot be built from is an error with its line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node (Any: whatever YAML can hold)."""
        try:
            return super().construct_object(node, deep=deep)
        except (yaml.YAMLError, RecursionError):
            raise
        # A date that no calendar has, a number of thousands of digits, a wrong text after a tag.
        except Exception as error:
            text = repr(node.value) if isinstance(node, yaml.ScalarNode) else node.tag
            short = text if len(text) <= 80 else f"{text[:77]}..."
            problem = f"{short} cannot be read: {error}; put text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def read_yaml(text: str, where: str) -> Any:
    """Return the value of one YAML document (Any: whatever YAML can hold); None for an empty one.

    Raises:
        ConfigError: it is no YAML, or a key occurs twice in one section; `where` in front.
    """
    loader = None
    try:
        if _may_be_deep(text):
            _refuse_depth(text, where)
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        twice = list(_repeated_keys(root))
        if twice:
            raise ConfigError(f"{where}: " + "; ".join(twice))
        return loader.construct_document(root)
    except (yaml.YAMLError, RecursionError) as error:
        tab = "; indent with spaces, not with a tab" if _begins_with_tab(text, error) else ""
        raise ConfigError(f"{where} is not valid YAML: {_one_line(error)}{tab}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _begins_with_tab(text: str, error: Exception) -> bool:
    """Tell whether the line that the parser could not read is indented with a tab."""
    mark = getattr(error, "problem_mark", None)
    lines = text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    return "\t" in line[: len(line) - len(line.lstrip())]


def _one_line(error: Exception) -> str:
    """Return what a parser says, without its name for a text that has none."""
    return " ".join(str(error).replace(' in "<unicode string>",', " at").split())


def _may_be_deep(text: str) -> bool:
    """Tell whether sections may be within each other more than MAX_DEPTH times, from brackets and indents alone."""
    indent = max((len(line) - len(line.lstrip(" -?")) for line in text.splitlines()), default=0)
    return text.count("[") + text.count("{") + indent >= MAX_DEPTH


def _refuse_depth(text: str, where: str) -> None:
    """Refuse sections within sections without end, which the parser in C follows until the process ends.

    Raises:
        ConfigError: there are more than MAX_DEPTH of them.
        yaml.YAMLError: it is no YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Parser):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where} is not valid YAML: more than {MAX_DEPTH} sections within each other")


def _repeated_keys(root: yaml.Node) -> Iterator[str]:
    """Yield a sentence per key that a section has twice.

    A key that a section has from `<<` and of its own is none: its own value is the one that counts.
    """
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _repeated_in(node)
            waiting += [value for pair in reversed(node.value) for value in reversed(pair)]
        else:
            waiting += reversed(node.value)


def _repeated_in(node: yaml.MappingNode) -> Iterator[str]:
    first: dict[tuple[str, str], int] = {}
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        line, name = key.start_mark.line + 1, (key.tag, key.value)
        if name in first:
            yield f"{key.value!r} stands twice in one section, in line {first[name]} and in line {line}; keep one"
        first.setdefault(name, line)
