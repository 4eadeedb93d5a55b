"""What a prediction says once its wrapping is removed: code fences, JSON, quotes, tags, "The answer is ...".

Each step takes one layer off, and gives one text: nothing here tries several answers that a prediction names, so a text
that names all of them gains nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

MAX_LAYERS = 8
"""Layers that are taken off; more are not in use."""
_ANSWER_KEYS = ("answer", "final_answer", "prediction", "response", "output", "result", "text")
_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)\n?\s*```", re.DOTALL)
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"\s*<think(?:ing)?>(?!.*</think(?:ing)?>)", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<(answer|final_answer|response|output)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_INTRODUCED = re.compile(
    r".*\b(?:final\s+)?answer(?:\s+to\s+the\s+question)?\s*(?:\s+(?:is|would\s+be)\b\s*:?|:|=)\s*(.+)$",
    re.DOTALL | re.IGNORECASE,
)
_COPULA = re.compile(r"^[^.!?\n]*?\b(?:is|are|was|were|it's|that's|says|reads)\s+([^\n]+)$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the) +([^\n]+)$", re.IGNORECASE)
_YES_NO = re.compile(r"^(yes|no)\b(?=\s*[,.;:!]|\s*$)", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "\u300c": "\u300d"}
_EMPHASIS = ("***", "**", "__", "*", "_")


def is_only_thought(prediction: str) -> bool:
    """Tell whether a prediction was cut off within its thoughts, so that it says nothing yet."""
    return _OPEN_THOUGHT.match(prediction) is not None


def unwrapped(prediction: str) -> list[str]:
    """Return the prediction, then what is left after each layer of wrapping, the innermost last."""
    found = [prediction]
    while len(found) <= MAX_LAYERS:
        inner = next(_layers(found[-1].strip()), None)
        if inner is None or inner in found:
            break
        found.append(inner)
    return found


def _layers(text: str) -> Iterator[str]:
    """Yield a text without its outermost layer; nothing where it has none."""
    for remove in _REMOVERS:
        inner = remove(text)
        if inner is not None and inner.strip() and inner.strip() != text:
            yield inner.strip()


def _without_thought(text: str) -> str | None:
    return _THOUGHT.sub("", text) if _THOUGHT.match(text) else None


def _fenced(text: str) -> str | None:
    blocks = _FENCE.findall(text)
    return str(blocks[0]) if len(blocks) == 1 else None


def _tagged(text: str) -> str | None:
    blocks = _TAGGED.findall(text) or [("", inner) for inner in _BOXED.findall(text)]
    return str(blocks[-1][1]) if blocks else None


def _from_json(text: str) -> str | None:
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _plain(value)


# Any: a value of JSON.
def _plain(value: Any) -> str | None:
    """Return the one value of a JSON text, as text; None where it has several."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return _plain(value[0]) if len(value) == 1 else None
    if isinstance(value, dict):
        named = [value[key] for key in value if str(key).strip().lower().replace(" ", "_") in _ANSWER_KEYS]
        values = named or list(value.values())
        return _plain(values[0]) if len(values) == 1 else None
    return None


def _unquoted(text: str) -> str | None:
    for opening, closing in _QUOTES.items():
        bare = text.rstrip(".")
        if len(bare) > 2 and bare.startswith(opening) and bare.endswith(closing) and closing not in bare[1:-1]:
            return bare[1:-1]
    return None


def _plainly(text: str) -> str | None:
    for mark in _EMPHASIS:
        bare = text.rstrip(".")
        if len(bare) > 2 * len(mark) and bare.startswith(mark) and bare.endswith(mark):
            return bare[len(mark) : -len(mark)]
    return None


def _introduced(text: str) -> str | None:
    found = _INTRODUCED.match(text)
    return found[1] if found else None


def _yes_or_no(text: str) -> str | None:
    """Return the yes or no that begins a text which does not say the other one as well."""
    found = _YES_NO.match(text)
    if not found:
        return None
    word = found[1].lower()
    other = "no" if word == "yes" else "yes"
    return None if re.search(rf"\b{other}\b", text, re.IGNORECASE) else found[1]


def _complement(text: str) -> str | None:
    """Return what a single sentence says about its subject: red of "The ball is red."."""
    found = _COPULA.match(text)
    return found[1] if found and not re.search(r"[.!?]\s+\S", found[1]) else None


def _without_article(text: str) -> str | None:
    found = _ARTICLE.match(text)
    return found[1] if found else None


_REMOVERS: tuple[Callable[[str], str | None], ...] = (
    _without_thought,
    _fenced,
    _tagged,
    _from_json,
    _unquoted,
    _plainly,
    _introduced,
    _yes_or_no,
    _complement,
    _without_article,
)
"""In this order: the first that finds something to remove does."""
